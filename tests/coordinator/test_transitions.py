"""The table of a run's record: each event in the states of the newest step, and what nothing changes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from coordinator import transitions
from coordinator.backend import ENDED, Seen, StepOutputs
from coordinator.records import ATTEMPTS_MAX, DETAIL_MAX, HISTORY_MAX, STEPS_MAX, Run
from tests.coordinator.run_samples import (
    RUNS,
    TOKEN,
    asks,
    begun,
    facts,
    lines,
    looked,
    opened,
    over,
    result,
    shows,
    states,
    submitted,
    submitting,
    superseded,
    whole,
    with_status,
)

MINE, OTHERS = asks(("a", "1"), ("b", "2")), asks(("c", "1"), ("d", "9"))
STEP_STATES = ["none", "open", "whole", "submitting", "submitted", "over"]

ASKED_FOR_OTHERS = {
    "none": ["open"], "open": ["superseded", "open"], "whole": ["superseded", "open"],
    "submitting": ["superseded", "open"], "submitted": ["submitted", "open"], "over": ["superseded"],
}  # fmt: skip


@pytest.mark.parametrize("name", STEP_STATES)
def test_other_calls_asked_for_open_a_step(name: str) -> None:
    """Other calls are a new step, and supersede one that was not accepted; a run that is over asks for nothing."""
    run = looked(RUNS[name], OTHERS, "step_2")
    assert states(run) == ASKED_FOR_OTHERS[name]
    assert looked(run, OTHERS, "step_2") == run


@pytest.mark.parametrize("name", ["open", "whole", "submitting", "submitted"])
def test_own_calls_asked_for_again_change_nothing(name: str) -> None:
    """A step's own calls, asked for once more, are the step that is known."""
    assert replace(looked(RUNS[name], MINE, "step_1"), looked_ms=0) == replace(RUNS[name], looked_ms=0)


def test_calls_of_no_step_are_an_old_picture() -> None:
    """What the API asks for and knows no step of is void by now: it is looked at again, not executed."""
    assert looked(begun(), MINE).steps == ()
    assert looked(opened(), OTHERS).steps == opened().steps


def test_calls_that_have_outputs_are_an_old_picture() -> None:
    """Calls that somebody has handed in outputs for are not asked for any more, even if they were never seen before."""
    found = shows("step_1", "a", "b", outputs=True)
    assert transitions.looked(begun(), MINE, facts(MINE), found, 10).steps == ()


def test_superseded_calls_asked_for_after_an_acceptance_are_an_old_picture() -> None:
    """A step in whose place another was accepted never comes back, though the API still lists it."""
    run, _ = transitions.given(superseded(), "a", result(), 20)
    run = transitions.submitted(transitions.submitting(run, TOKEN, 30), TOKEN, "accepted", "", 40)
    assert looked(run, MINE, "step_1").steps == run.steps


def test_accepted_calls_that_mean_others_by_now_are_an_old_picture() -> None:
    """Where ids are used again, the step that the API has now tells an old picture by its other arguments."""
    found = StepOutputs("step_2", {"a": None, "b": None}, asks(("a", "7"), ("b", "8")).calls)
    assert transitions.looked(submitted(), MINE, facts(MINE), found, 50).steps == submitted().steps
    new = asks(("a", "7"), ("b", "8"))
    run = transitions.looked(submitted(), new, facts(new), found, 50)
    assert [call.known_as for call in run.steps[-1].calls] == ["step_2/a", "step_2/b"]


def test_same_ids_with_other_arguments_are_other_calls() -> None:
    """A provider that numbers its calls may ask for others under the same ids: what was known is not handed in for
    them."""
    run = looked(whole(), asks(("a", "1"), ("b", "3")), "step_1")
    assert states(run) == ["superseded", "open"]
    assert [(call.stray, call.given) for call in run.steps[-1].calls] == [(False, result("ra")), (True, None)]


def test_same_calls_of_another_step_are_a_step_of_their_own() -> None:
    """An attempt whose end nobody can tell, because the ids belong to another step by now, is not taken for that
    step's."""
    run = transitions.fate(submitting(), shows("step_2", "a", "b"), 50)
    run = looked(run, MINE, "step_2")
    assert [(step.step_id, step.state) for step in run.steps] == [("step_1", "superseded"), ("step_2", "open")]


@pytest.mark.parametrize("status", sorted(ENDED))
@pytest.mark.parametrize("name", ["none", "open", "whole", "submitting", "submitted"])
def test_run_that_ended_stays_so(name: str, status: str) -> None:
    """Its steps are superseded or submitted, its outputs let go, and nothing that comes later changes its status."""
    ended = transitions.looked(RUNS[name], Seen(status, error="why"), {}, None, 50)
    assert ended.over
    assert ended.why == "why"
    assert set(states(ended)) <= {"superseded", "submitted"}
    assert all(call.given is None or call.given.output is None for step in ended.steps for call in step.calls)
    for later in (MINE, OTHERS, Seen("in_progress"), Seen("failed")):
        assert looked(ended, later, "step_1") == ended
        assert not transitions.asks_for_step(ended, later, facts(later))
        assert not transitions.in_doubt(ended, later)
    assert transitions.gone(ended, "404", 60) == ended


def test_run_that_is_gone_is_over() -> None:
    """A run that the API knows no more is over, whatever its status was."""
    assert transitions.gone(whole(), "no such run", 60).over
    assert transitions.gone(whole(), "no such run", 60).why == "no such run"


DOUBT = {
    # what is shown: nothing, the step's own calls, others
    "none": (False, False, False),
    "open": (False, False, True),
    "whole": (False, False, True),
    "submitting": (True, True, True),
    "submitted": (False, True, False),
    "over": (False, False, False),
}


@pytest.mark.parametrize("name", STEP_STATES)
def test_api_is_asked_what_it_has_where_that_is_in_doubt(name: str) -> None:
    """An attempt whose end is not known, and calls in the place of others, are judged only after asking."""
    shown = (Seen("in_progress"), MINE, OTHERS)
    assert tuple(transitions.in_doubt(RUNS[name], seen) for seen in shown) == DOUBT[name]


def test_run_that_moves_on_after_a_refused_attempt_is_in_doubt() -> None:
    """A refused attempt may have been refused because an earlier one had arrived after all: the API is asked."""
    run = transitions.submitted(submitting(), TOKEN, "refused", "400", 40)
    assert transitions.in_doubt(run, Seen("in_progress"))
    assert states(transitions.fate(run, shows("step_1", "a", "b", outputs=True), 50)) == ["submitted"]


ASKS = {"none": (True, True), "open": (False, True), "whole": (False, True), "submitting": (True, True)}


@pytest.mark.parametrize("name", STEP_STATES)
def test_step_is_asked_for_where_calls_are_new(name: str) -> None:
    """Which step calls belong to is asked for unless they are the open step's own; never, if nothing is asked for."""
    shown = (MINE, OTHERS)
    expected = ASKS.get(name, (name != "over",) * 2)
    assert tuple(transitions.asks_for_step(RUNS[name], seen, facts(seen)) for seen in shown) == expected
    assert not transitions.asks_for_step(RUNS[name], Seen("in_progress"), {})


FATES = {
    # what the API has: the outputs, the step without them, no such step
    "none": ([], [], []),
    "open": (["submitted"], ["open"], ["open"]),
    "whole": (["submitted"], ["open"], ["open"]),
    "submitting": (["submitted"], ["open"], ["open"]),
    "submitted": (["submitted"], ["open"], ["open"]),
    "over": (["superseded"], ["superseded"], ["superseded"]),
}


@pytest.mark.parametrize("name", STEP_STATES)
def test_fate_of_a_step_is_what_the_api_has_of_it(name: str) -> None:
    """Outputs that the API has were accepted, whoever handed them in; those that it lacks are to be handed in (again).
    Being told twice is being told once."""
    run = RUNS[name]
    for found, expected in zip((True, False, None), FATES[name], strict=True):
        told = transitions.fate(run, None if found is None else shows("step_1", "a", "b", outputs=found), 50)
        assert states(told) == expected
        assert transitions.fate(told, None if found is None else shows("step_1", "a", "b", outputs=found), 60) == told


def test_fate_settles_the_attempt() -> None:
    """The attempt that was in doubt has its end from then on."""
    taken = transitions.fate(submitting(), shows("step_1", "a", "b", outputs=True), 50)
    lost = transitions.fate(submitting(), shows("step_1", "a", "b"), 50)
    assert taken.steps[-1].attempts[-1].end == "accepted"
    assert lost.steps[-1].attempts[-1].end == "not-taken"
    assert lost.steps[-1].whole


def test_step_half_of_whose_outputs_are_there_was_not_accepted() -> None:
    """Outputs are taken whole or not at all: some are none."""
    found = StepOutputs("step_1", {"a": "{}", "b": None})
    assert states(transitions.fate(submitting(), found, 50)) == ["open"]


def test_submission_that_the_api_lost_is_gathered_again() -> None:
    """Outputs that were let go are asked for anew: the proxy has them."""
    run = transitions.looked(submitted(), Seen("in_progress"), {}, None, 50)
    run = transitions.fate(run, shows("step_1", "a", "b"), 60)
    assert states(run) == ["open"]
    assert [call.given for call in run.steps[-1].calls] == [None, None]


def test_step_of_the_same_ids_says_nothing_of_a_submitted_one() -> None:
    """A later step that uses the ids again is not the one that was accepted."""
    assert transitions.fate(submitted(), shows("step_2", "a", "b"), 50) == submitted()


def test_outputs_are_let_go_once_the_run_has_moved_on() -> None:
    """Digests stay; superseded steps that led to the accepted one let go as well, and so does the next step's
    asking."""
    run, _ = transitions.given(looked(whole(), asks(("c", "1")), "step_2"), "a", result("ra"), 20)
    run = transitions.submitted(transitions.submitting(run, TOKEN, 30), TOKEN, "accepted", "", 40)
    asked = looked(run, asks(("e", "5")), "step_3")
    for moved in (transitions.looked(run, Seen("in_progress"), {}, None, 50), asked):
        kept = [call.given for step in moved.steps for call in step.calls if call.given is not None]
        assert {given.digest for given in kept} == {"ra", "rb"}
        assert {given.output for given in kept} == {None}


@pytest.mark.parametrize("name", ["open", "whole", "submitting"])
def test_outputs_are_kept_while_nothing_was_accepted(name: str) -> None:
    """A run that is seen to ask for nothing keeps what was not taken yet."""
    run = transitions.looked(RUNS[name], Seen("in_progress"), {}, None, 50)
    assert run.steps == RUNS[name].steps


def attempted(end: transitions.End, token: str = TOKEN) -> Run:
    """One attempt, and its end."""
    return transitions.submitted(submitting(), token, end, "words", 40)


@pytest.mark.parametrize(
    ("end", "state", "written"),
    [("accepted", "submitted", "accepted"), ("refused", "open", "refused"), ("not-sent", "open", "not-sent"),
     ("unclear", "submitting", "")],
)  # fmt: skip
def test_attempt_ends(end: transitions.End, state: str, written: str) -> None:
    """Accepted is submitted; refused and not sent may be tried again; unclear stays so until the API was asked."""
    run = attempted(end)
    assert states(run) == [state]
    assert run.steps[-1].attempts[-1].end == written
    assert lines(run)[-1] == f"submission-{end}"
    if end != "unclear":
        assert transitions.submitted(run, TOKEN, end, "words", 50) == run


@pytest.mark.parametrize("name", STEP_STATES)
def test_end_of_an_attempt_that_is_not_under_way_changes_nothing(name: str) -> None:
    """A stale token, or a step that has moved on, is left alone."""
    assert transitions.submitted(RUNS[name], "other", "accepted", "", 50) == RUNS[name]
    if name != "submitting":
        assert transitions.submitted(RUNS[name], TOKEN, "accepted", "", 50) == RUNS[name]


@pytest.mark.parametrize("name", ["none", "open", "submitting", "submitted", "over"])
def test_attempt_begins_only_with_an_open_whole_step(name: str) -> None:
    """Anything else is a mistake of the caller."""
    with pytest.raises(AssertionError):
        transitions.submitting(RUNS[name], "token-2", 50)


def test_bounds_are_kept() -> None:
    """History, steps, attempts and other people's words have their limits; the first line and the newest stay, and
    attempts go on being counted."""
    run = transitions.begun("assistants", "thread_1", "run_1", 0, turn="t" * 1_000)
    for number in range(STEPS_MAX + 10):
        run = looked(run, asks((f"c{number}", "1")), f"step_{number}")
    run, _ = transitions.given(run, "c0", result(), 20)
    for number in range(ATTEMPTS_MAX + 10):
        run = transitions.submitted(
            transitions.submitting(run, f"t{number}", 30), f"t{number}", "refused", "x" * 999, 4
        )
    run = transitions.noted(with_status(run, "requires_action"), "note", "y" * 999, 50)
    assert (len(run.history), len(run.steps)) == (HISTORY_MAX, STEPS_MAX)
    assert (lines(run)[0], lines(run)[-1]) == ("tracked", "note")
    attempts = run.steps[-1].attempts
    assert len(attempts) == ATTEMPTS_MAX
    assert attempts[-1].number == ATTEMPTS_MAX + 10
    assert {len(event.detail) for event in run.history} <= set(range(DETAIL_MAX + 1))
    assert len(attempts[-1].detail) == DETAIL_MAX
    assert len(transitions.gone(run, "z" * 999, 60).why) == DETAIL_MAX


def test_calls_outlive_the_steps_that_leave() -> None:
    """A call that was minted anew more often than steps are kept is still the one that the proxy knows."""
    run = begun()
    for number in range(STEPS_MAX + 10):
        run = looked(run, asks((f"c{number}", "1")), f"step_{number}")
    assert {call.known_as for step in run.steps for call in step.calls} == {"c0"}


def test_run_that_is_over_takes_results_for_the_timeline_only() -> None:
    """A result that comes after the end is late, and is written down once."""
    run, taking = transitions.given(over(), "a", result(), 60)
    assert taking == "late"
    assert run.steps == over().steps
    assert transitions.given(run, "a", result(), 70) == (run, "late")
