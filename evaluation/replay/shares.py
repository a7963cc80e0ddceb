"""Which turns are replayed in which environment: each has a stretch of the trace for itself.

A stretch is a trace of its own: it begins at 0, and does not speak of what was before. What is sent or said again by
accident there is left out where the first of the two is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from evaluation.replay.turns import Turn


def shared_out(turns: Sequence[Turn], environments: Sequence[str]) -> dict[str, list[Turn]]:
    """Return each environment's turns, of `turns` in the order of time; as many for each, but for what is left out."""
    bounds = [len(turns) * place // len(environments) for place in range(len(environments) + 1)]
    return {name: stretch(turns[bounds[place] : bounds[place + 1]]) for place, name in enumerate(environments)}


def stretch(turns: Sequence[Turn]) -> list[Turn]:
    """Return a part of a trace as a trace."""
    begins_at = turns[0].at if turns else 0.0
    there: set[str] = set()
    kept = []
    for turn in turns:
        alone = turn.repeat is not None and turn.repeat.of not in there
        if alone and turn.repeat is not None and turn.repeat.kind != "meant-again":
            continue
        there.add(turn.id)
        kept.append(replace(turn, at=round(turn.at - begins_at, 3), repeat=None if alone else turn.repeat))
    return kept
