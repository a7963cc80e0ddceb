"""A replay's folder: taken for one plan, gone on with under the same one, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from evaluation.replay.plan import read_plan
from evaluation.replay.records import Plan, folder, mark_done, pair_folder, turns_file
from evaluation.replay.records import read_plan as read_replay_plan
from evaluation.replay.trace import read_trace
from evaluation.replay.turns import Turn
from evaluation.replay.workload import Shape, workload
from evaluation.run.matrix import Matrix, OtherPlan, Progress, enter, first_of, make_plan, shares_of

FAULTS = read_plan()
TURNS = workload(Shape(seed=1), 100)


def planned(environments: tuple[str, ...] = ("staging",), seed: int = 1) -> tuple[Plan, dict[str, list[Turn]]]:
    """Return a plan with its turns."""
    shares = shares_of(TURNS, environments)
    return make_plan(shares, FAULTS, seed=seed, pace=4, variants=("B", "C"), pair=True), shares


def test_plan_says_what_is_replayed() -> None:
    """With digests of turns and faults, which change with what they are of."""
    plan, shares = planned(("staging", "pre-prod"))
    assert plan.turns == {name: len(turns) for name, turns in shares.items()}
    assert (plan.window_s, plan.environments) == (22.5, ("staging", "pre-prod"))
    assert plan.pair_turns == min(plan.turns.values())
    other = make_plan(shares, replace(FAULTS, seed=9), seed=1, pace=4, variants=("B", "C"), pair=False)
    assert other.faults != plan.faults
    assert (other.trace, other.pair_turns) == (plan.trace, 0)
    assert planned(("staging",))[0].trace != plan.trace


def test_folder_holds_the_plan_and_the_turns(tmp_path: Path) -> None:
    """Whoever reports finds what was replayed."""
    plan, shares = planned()
    enter(tmp_path / "out", plan, shares, resume=False)
    assert read_replay_plan(tmp_path / "out") == plan
    assert list(read_trace(tmp_path / "out" / turns_file("staging"))) == shares["staging"]


def test_replay_is_gone_on_with_under_the_same_plan_alone(tmp_path: Path) -> None:
    """Another one is refused with the field that differs; the machine may be another, and is told as it was."""
    plan, shares = planned()
    enter(tmp_path, plan, shares, resume=True)
    enter(tmp_path, replace(plan, machine={"cores": "64"}), shares, resume=True)
    with pytest.raises(OtherPlan, match="begun with seed 1, and this asks for 2"):
        enter(tmp_path, replace(plan, seed=2), shares, resume=True)
    with pytest.raises(OtherPlan, match="--resume"):
        enter(tmp_path, plan, shares, resume=False)


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written between somebody's files."""
    (tmp_path / "thesis.txt").touch()
    plan, shares = planned()
    with pytest.raises(OtherPlan, match="not empty"):
        enter(tmp_path, plan, shares, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_first_error_of_tasks_is_the_one_that_is_told() -> None:
    """However deep the groups are."""
    first = OSError("first")
    group = ExceptionGroup("", [ExceptionGroup("", [first, ValueError()]), KeyError()])
    assert first_of(group) is first


def test_environments_without_turns_are_refused() -> None:
    """One turn cannot be shared."""
    with pytest.raises(ValueError, match="too few"):
        shares_of(TURNS[:1], ["staging", "pre-prod"])


async def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    """With every folder done nothing is started, and the progress is whole."""
    plan, shares = planned()
    for name in ("B", "C"):
        for directory in (folder("staging", name), pair_folder("staging", name)):
            (tmp_path / directory).mkdir()
            mark_done(tmp_path / directory)
    told: list[Progress] = []
    await Matrix(tmp_path, plan, shares, FAULTS, told.append).run()
    assert told[-1].over == told[-1].of == 400
