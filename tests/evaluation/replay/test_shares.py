"""Turns are shared out over environments: each share is a trace, and no turn is in two."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from evaluation.replay.shares import shared_out, stretch
from evaluation.replay.trace import read_trace, write_trace
from evaluation.replay.turns import Repeat, Turn
from evaluation.replay.workload import Shape, workload


def test_each_environment_has_its_own_turns(tmp_path: Path) -> None:
    """As many for each, give or take what begins before, in their order; together they are the trace."""
    turns = workload(Shape(seed=1), 3_000)
    shares = shared_out(turns, ["staging", "pre-prod"])
    ids = [turn.id for share in shares.values() for turn in share]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= {turn.id for turn in turns}
    assert [turn.id for turn in shares["staging"]] == [turn.id for turn in turns[:1_500]]
    assert 1_480 < len(shares["pre-prod"]) <= 1_500
    write_trace(tmp_path / "share", shares["pre-prod"])
    assert list(read_trace(tmp_path / "share")) == shares["pre-prod"]


def turn(name: str, at: float, of: str = "", kind: str = "") -> Turn:
    """Return a turn, which may repeat another."""
    repeat = Repeat(of, kind) if of else None  # type: ignore[arg-type]  # one of the three
    return Turn(name, at, "acme", "u1", "th", name, repeat=repeat)


def test_accident_is_left_out_where_what_it_repeats_is_not_there() -> None:
    """Alone it would be a turn that means nothing; what is meant again is meant, and stays."""
    first, accident, meant = turn("a", 7), turn("b", 8, "a", "said-again"), turn("c", 9, "a", "meant-again")
    assert stretch([first, accident, meant]) == [
        replace(first, at=0.0), replace(accident, at=1.0), replace(meant, at=2.0),
    ]  # fmt: skip
    assert stretch([accident, meant]) == [replace(meant, at=1.0, repeat=None)]
    assert stretch([]) == []
