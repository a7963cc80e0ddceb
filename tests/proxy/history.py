"""Is what callers were told of one key possible, if the tool ran the call at most once? (Wing and Gong 1993)

A key is a cell that is empty until the tool runs the call, and holds what the tool answered from then on. Each attempt
of a caller is an interval of time with what it was told at its end. The history is *linearizable* if a moment can be
found within each interval such that everybody was told the truth of that moment. Attempts that were told nothing
certain (unknown, in flight, no answer at all) may have run the call at any moment after their start, or never.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Attempt:
    """What one caller was told. `start` and `end` are moments of one clock.

    told   `answer` (the tool's, with its `value`), `not-executed` (provably, then), or `nothing` that is certain.
    """

    start: float
    end: float
    told: Literal["answer", "not-executed", "nothing"]
    value: str = ""


class NotLinearizable(AssertionError):
    """What callers were told cannot all be true; the message shows it."""


def check(attempts: Sequence[Attempt], executions: Sequence[str]) -> None:
    """Raise `NotLinearizable` unless the attempts of one key fit the values that the tool's ledger shows for it."""
    if len(executions) > 1:
        raise NotLinearizable(f"executed {len(executions)} times: {executions}; told: {_shown(attempts)}")
    unheard = {one.value for one in attempts if one.told == "answer"} - set(executions)
    if unheard:
        raise NotLinearizable(f"answers that the tool never gave: {sorted(unheard)}; its ledger: {executions}")
    if not _fits(attempts, frozenset(range(len(attempts))), None, executions, set()):
        raise NotLinearizable(f"no order explains this; the tool's ledger: {executions}; told: {_shown(attempts)}")


def _fits(
    attempts: Sequence[Attempt], left: frozenset[int], cell: str | None, executions: Sequence[str],
    dead_ends: set[tuple[frozenset[int], str | None]],
) -> bool:  # fmt: skip
    """Say whether the attempts that are `left` can follow upon `cell`."""
    certain = [number for number in left if attempts[number].told != "nothing"]
    if not certain:
        return True
    if (left, cell) in dead_ends:
        return False
    horizon = min(attempts[number].end for number in certain)
    for number in left:
        if attempts[number].start <= horizon:
            for after in _steps(attempts[number], cell, executions):
                if _fits(attempts, left - {number}, after, executions, dead_ends):
                    return True
    dead_ends.add((left, cell))
    return False


def _steps(attempt: Attempt, cell: str | None, executions: Sequence[str]) -> Iterator[str | None]:
    """Yield what the cell may hold after `attempt` has taken its moment; nothing if it cannot take it now."""
    match attempt.told:
        case "answer":
            if cell in {None, attempt.value}:
                yield attempt.value
        case "not-executed":
            if cell is None:
                yield None
        case "nothing":
            if cell is None:
                yield from executions


def _shown(attempts: Sequence[Attempt]) -> str:
    first = min((one.start for one in attempts), default=0.0)
    lines = [
        f"{one.start - first:8.3f} to {one.end - first:.3f}: {one.told} {one.value}"
        for one in sorted(attempts, key=lambda one: one.start)
    ]
    return "\n" + "\n".join(lines)
