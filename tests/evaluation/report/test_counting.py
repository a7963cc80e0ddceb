"""What the records say, summed: of a replay without a fault nothing is counted as one, and each fault moves the sums
that it should move, and no other."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from evaluation.replay.lines import BadLine
from evaluation.replay.records import CALLS, Outcome
from evaluation.replay.turns import Turn
from evaluation.report.counting import Counted, count, count_times
from evaluation.report.share import share_of
from tests.evaluation.report.staged import PACE, Staged, effect_of, perfect, turns_of

TURNS = turns_of(400)
ERRORS = {
    "duplicates", "duplicates_made", "duplicates_moved", "duplicates_resent", "duplicates_said_again", "lost",
    "duplicates_beyond_plan", "suppressed", "missing", "missing_silently", "unknown", "repeated", "without_id",
    "two_attempts", "more_attempts",
}  # fmt: skip


def counted(folder: Path, staged: Staged) -> Counted:
    """Count records, by way of their files."""
    staged.write(folder)
    return count(folder, share_of(TURNS), window_s=90 / PACE, seed=1)


def sums(of: Counted) -> dict[str, int]:
    """Return the sums over all users that are not 0."""
    return {name: total for name, users in of.sums.items() if (total := sum(users.values()))}


def repeats(kind: str) -> list[Turn]:
    """Return the turns that repeat others in this way, and write."""
    return [turn for turn in TURNS if turn.repeat and turn.repeat.kind == kind and turn.planned()]


def test_replay_without_a_fault_has_none(tmp_path: Path) -> None:
    """Each turn ended, each step was submitted once and in time, and each effect that was meant is there once; but what
    was said again was planned, and not done."""
    found = counted(tmp_path / "perfect", perfect(TURNS))
    told = sums(found)
    assert not ERRORS & told.keys()
    assert (
        told["turns"]
        == told["terminal"]
        == told["completed"]
        == sum(turn.repeat is None or turn.repeat.kind != "resent" for turn in TURNS)
    )
    assert told["steps"] == told["unstalled"] == told["attempts"] == told["taken"] == told["one_attempt"]
    assert told["meant"] == told["observed"] == told["calls"] == found.executions.times[1]
    assert told["plan"] - told["meant"] == sum(len(turn.planned()) for turn in repeats("said-again"))
    assert sum(steps * turns for steps, turns in found.steps.items()) == told["steps"]
    assert sum(found.steps.values()) == told["turns"]
    assert found.clusters.clusters == found.clusters.all_meant > 0
    assert found.statuses == {"completed": told["turns"]}


def single(staged: Staged) -> int:
    """Return the place of an effect that nothing else is like."""
    alike = [(one.tool, one.payload_hash) for one in staged.effects]
    return next(place for place, name in enumerate(alike) if alike.count(name) == 1)


def run_twice(staged: Staged) -> None:
    """The same call is executed again, 3 s later."""
    staged.again(staged.effects[single(staged)])


def run_under_another_id(staged: Staged) -> None:
    """The same effect comes again as another call, after the window."""
    effect = staged.effects[single(staged)]
    staged.again(effect, tool_call_id="call_new", ts=effect.ts + 60)


def do(staged: Staged, kind: str) -> None:
    """The first effect of a turn that repeats another is done although nobody means it, long after."""
    turn = repeats(kind)[0]
    staged.effects.append(effect_of(turn.planned()[0], "run_again", "call_again", staged.outcomes[-1].sent_at + 600))


def move(staged: Staged) -> None:
    """A turn was sent to a second region, and done there as well, much later."""
    effect = staged.effects[single(staged)]
    place = [outcome.run_id for outcome in staged.outcomes].index(effect.run_id)
    staged.outcomes[place] = replace(staged.outcomes[place], moved=True)
    staged.again(effect, run_id="run_elsewhere", ts=effect.ts + 600)


def lose(staged: Staged, told: str) -> None:
    """An effect is not there, and its run was told this."""
    effect = staged.effects.pop(single(staged))
    place = [call.tool_call_id for call in staged.calls].index(effect.tool_call_id)
    staged.calls[place] = replace(staged.calls[place], output_outcome=told)


def suppress(staged: Staged) -> None:
    """The second of two turns that both mean it has no effect of its own."""
    turn = repeats("meant-again")[0]
    staged.effects = [one for one in staged.effects if one.run_id != f"run_{turn.id}"]


def tell_unknown(staged: Staged) -> None:
    """A run is told that nobody knows, though the effect is there."""
    place = [call.tool_call_id for call in staged.calls].index(staged.effects[0].tool_call_id)
    staged.calls[place] = replace(staged.calls[place], output_outcome="unknown")


def stall(staged: Staged) -> None:
    """A step is in requires_action for 5 s."""
    staged.steps[0] = replace(staged.steps[0], taken_at=staged.steps[0].asked_at + 5)


def never_take(staged: Staged) -> None:
    """A step's outputs are tried to be submitted twice, once without an id, and never taken."""
    staged.steps[0] = replace(staged.steps[0], taken_at=None, attempts=2, without_id=1)


def take_late(staged: Staged) -> None:
    """A step's outputs are taken in time, at the third attempt."""
    staged.steps[0] = replace(staged.steps[0], attempts=3)


def leave_open(staged: Staged) -> None:
    """A turn does not end."""
    staged.outcomes[0] = replace(staged.outcomes[0], ended_at=None, status="open")


def end_late(staged: Staged) -> None:
    """A turn ends after 121 s, as completed as any."""
    staged.outcomes[0] = replace(staged.outcomes[0], ended_at=staged.outcomes[0].sent_at + 121)


def fail(staged: Staged) -> None:
    """A turn's run ends, and has failed."""
    staged.outcomes[0] = replace(staged.outcomes[0], status="failed")


DUPLICATE = {"observed": 1, "duplicates": 1}
MADE = {**DUPLICATE, "duplicates_made": 1, "duplicates_beyond_plan": 1}
AS_CALL = {**DUPLICATE, "calls": 1}
TWO = {"attempts": 1, "one_attempt": -1, "two_attempts": 1}
GONE = {"observed": -1, "lost": 1, "calls": -1}


@pytest.mark.parametrize(
    ("spoil", "moved"),
    [
        (run_twice, {**MADE, "repeated": 1, "clusters": 1, "clusters_of_two": 1}),
        (run_under_another_id, {**MADE, "calls": 1}),
        (lambda staged: do(staged, "said-again"), {**AS_CALL, "duplicates_said_again": 1, "hidden_by_plan": 1}),
        (lambda staged: do(staged, "resent"), {**AS_CALL, "duplicates_resent": 1, "duplicates_beyond_plan": 1}),
        (move, {**AS_CALL, "duplicates_moved": 1, "duplicates_beyond_plan": 1}),
        (lambda staged: lose(staged, "unknown"), {**GONE, "missing": 1, "unknown": 1}),
        (lambda staged: lose(staged, "refused"), {**GONE, "missing": 1}),
        (lambda staged: lose(staged, "result"), {**GONE, "missing": 1, "missing_silently": 1}),
        (tell_unknown, {"unknown": 1}),
        (stall, {"unstalled": -1}),
        (never_take, {**TWO, "unstalled": -1, "taken": -1, "without_id": 1}),
        (take_late, {"attempts": 2, "one_attempt": -1, "more_attempts": 1}),
        (leave_open, {"terminal": -1, "completed": -1}),
        (end_late, {"terminal": -1}),
        (fail, {"completed": -1}),
    ],
)
def test_fault_moves_its_own_sums_and_no_other(
    tmp_path: Path, spoil: Callable[[Staged], None], moved: dict[str, int]
) -> None:
    """By one."""
    spoilt = perfect(TURNS)
    before = sums(counted(tmp_path / "perfect", spoilt))
    spoil(spoilt)
    after = sums(counted(tmp_path / "spoilt", spoilt))
    changed = {name: after.get(name, 0) - before.get(name, 0) for name in before.keys() | after.keys()}
    assert {name: by for name, by in changed.items() if by} == moved


def test_legitimate_repeat_that_is_not_done_is_suppressed(tmp_path: Path) -> None:
    """Its effects are lost, and not missing: the same are there for another turn."""
    spoilt = perfect(TURNS)
    before = sums(counted(tmp_path / "perfect", spoilt))
    suppress(spoilt)
    after = sums(counted(tmp_path / "spoilt", spoilt))
    gone = before["observed"] - after["observed"]
    assert gone == after["suppressed"] == after["lost"] > 0
    assert not {"missing", "duplicates"} & after.keys()


def test_steps_without_any_attempt_are_in_no_share_of_attempts(tmp_path: Path) -> None:
    """They are steps that stalled, and no submission."""
    spoilt = perfect(TURNS)
    spoilt.steps[0] = replace(spoilt.steps[0], taken_at=None, attempts=0)
    told = sums(counted(tmp_path / "spoilt", spoilt))
    assert told["steps"] - 1 == told["submitted"] == told["one_attempt"] == told["unstalled"]


def test_plan_is_the_traces_where_calls_are_not_recorded(tmp_path: Path) -> None:
    """Each turn run once, those that are said again too; and then nothing can be called lost silently."""
    staged = perfect(TURNS)
    lose(staged, "result")
    recorded = counted(tmp_path / "recorded", staged)
    staged.write(tmp_path / "not")
    (tmp_path / "not" / CALLS).unlink()
    found = count(tmp_path / "not", share_of(TURNS), window_s=9, seed=1)
    assert (recorded.plan_from, found.plan_from) == ("calls", "trace")
    assert sums(found)["plan"] == sums(recorded)["plan"]
    assert "missing_silently" not in sums(found)


def test_times_are_of_turns_that_ended(tmp_path: Path) -> None:
    """One that did not, or was refused, is longer than any; a turn that is resent has no time of its own."""
    staged = perfect(TURNS, latency_s=2.5)
    leave_open(staged)
    staged.outcomes[1] = Outcome(staged.outcomes[1].turn, staged.outcomes[1].sent_at, None, None, "refused")
    staged.write(tmp_path / "spoilt")
    times = [seconds for seconds, _ in count_times(tmp_path / "spoilt", share_of(TURNS))]
    assert len(times) == sum(turn.repeat is None or turn.repeat.kind != "resent" for turn in TURNS)
    assert sorted(times)[-2:] == [math.inf, math.inf]
    assert sorted(times)[:-2] == pytest.approx([2.5] * (len(times) - 2), abs=1e-6)


def test_turn_that_is_not_of_the_plan_is_refused(tmp_path: Path) -> None:
    """Records of another trace are no records of this one."""
    staged = perfect(TURNS)
    staged.outcomes.append(replace(staged.outcomes[0], turn="stranger"))
    with pytest.raises(BadLine, match=r"outcomes.jsonl: turn: 'stranger' is no turn of this environment's"):
        counted(tmp_path / "spoilt", staged)


@pytest.mark.parametrize("moved", [False, True])
def test_key_that_each_of_two_regions_executed_is_told_apart(tmp_path: Path, moved: bool) -> None:
    """A run that two regions know of is executed in both, as their stores know nothing of each other. Any other
    key that is executed twice is another matter."""
    spoilt = perfect(TURNS)
    effect = spoilt.effects[single(spoilt)]
    spoilt.again(effect)
    place = [outcome.run_id for outcome in spoilt.outcomes].index(effect.run_id)
    spoilt.outcomes[place] = replace(spoilt.outcomes[place], moved=moved)
    found = counted(tmp_path / "spoilt", spoilt).executions
    assert (found.repeated, found.moved) == (1, int(moved))
