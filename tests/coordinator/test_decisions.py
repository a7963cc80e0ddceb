"""What a run wants done, as its record stands."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from coordinator import transitions
from coordinator.backend import Output
from coordinator.decisions import NOTHING, deadline_of, outputs_of, waits_since, wants
from coordinator.records import Run
from tests.coordinator.run_samples import (
    EXPIRES_MS,
    PATIENCE_MS,
    RUNS,
    asks,
    begun,
    looked,
    opened,
    result,
    whole,
    with_status,
)

MARGIN_MS = 15_000
OPENED_MS = 10


def one_given(run: Run) -> Run:
    """Call `a` has its result, `b` has not."""
    return transitions.given(run, "a", result(), 20)[0]


@pytest.mark.parametrize("name", ["none", "submitting", "submitted", "over"])
def test_run_that_waits_for_nothing_of_ours_wants_nothing(name: str) -> None:
    """No step, an attempt whose end is not known, an accepted one, the end: nothing is executed or submitted."""
    assert wants(RUNS[name], 60, MARGIN_MS) == NOTHING


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelling", "cancelled", "a status of next year"])
def test_run_that_does_not_ask_wants_nothing(status: str) -> None:
    """Whatever is open, only `requires_action` asks for it."""
    assert wants(with_status(opened(), status), 60, MARGIN_MS) == NOTHING
    assert wants(with_status(whole(), status), 60, MARGIN_MS) == NOTHING


def test_calls_without_a_result_are_executed() -> None:
    """Those, and no others, until their time is over."""
    run = one_given(opened())
    found = wants(run, 60, MARGIN_MS)
    assert [call.tool_call_id for call in found.execute] == ["b"]
    assert (found.overdue, found.submit) == ((), None)
    assert found.until_ms == OPENED_MS + PATIENCE_MS


def test_call_is_overdue_at_its_deadline_and_not_before() -> None:
    """From the very millisecond on it is not executed any more, and gets an error."""
    run, until = one_given(opened()), OPENED_MS + PATIENCE_MS
    before, after = wants(run, until - 1, MARGIN_MS), wants(run, until, MARGIN_MS)
    assert ([call.tool_call_id for call in before.execute], before.overdue) == (["b"], ())
    assert ([call.tool_call_id for call in after.overdue], after.execute, after.until_ms) == (["b"], (), 0)


def test_deadline_is_before_the_run_expires() -> None:
    """The run's own end comes first where it is nearer; a run that does not say when it expires has the call's."""
    run = opened()
    call = run.steps[-1].calls[0]
    assert deadline_of(call, run, MARGIN_MS) == OPENED_MS + PATIENCE_MS
    assert deadline_of(call, replace(run, expires_ms=50_000), MARGIN_MS) == 35_000
    assert deadline_of(call, replace(run, expires_ms=0), MARGIN_MS) == OPENED_MS + PATIENCE_MS


def test_call_of_a_run_that_was_taken_late_is_asked_for_all_the_same() -> None:
    """Until then, and no longer; a stray, which is asked for by nobody, and the run's own end are not put off."""
    run, taken = one_given(opened()), OPENED_MS + PATIENCE_MS + 40
    found = wants(run, taken, MARGIN_MS, taken + 5)
    assert ([call.tool_call_id for call in found.execute], found.overdue, found.until_ms) == (["b"], (), taken + 5)
    assert [call.tool_call_id for call in wants(run, taken + 5, MARGIN_MS, taken + 5).overdue] == ["b"]
    call = run.steps[-1].calls[1]
    assert deadline_of(replace(call, stray=True), run, MARGIN_MS, taken) == OPENED_MS + PATIENCE_MS
    assert deadline_of(call, run, MARGIN_MS, EXPIRES_MS * 2) == EXPIRES_MS - MARGIN_MS


def test_run_that_is_about_to_expire_is_not_kept_waiting() -> None:
    """Within the margin everything is overdue at once, so that there is still time to submit."""
    found = wants(opened(), EXPIRES_MS - MARGIN_MS, MARGIN_MS)
    assert [call.tool_call_id for call in found.overdue] == ["a", "b"]
    assert found.execute == ()


def test_stray_is_never_executed_and_is_overdue_in_the_end() -> None:
    """It waits for its deadline, and its error."""
    run = looked(opened(), asks(("a", "1"), ("b", "9")), "step_2")
    found = wants(run, 60, MARGIN_MS)
    assert [call.tool_call_id for call in found.execute] == ["a"]
    assert found.until_ms == OPENED_MS + PATIENCE_MS
    assert "b" in {call.tool_call_id for call in wants(run, 10 + PATIENCE_MS, MARGIN_MS).overdue}


def test_whole_step_is_submitted_even_after_its_time() -> None:
    """What there is to hand in is handed in, in the order of the calls."""
    found = wants(whole(), EXPIRES_MS * 2, MARGIN_MS)
    assert found.submit == whole().step
    assert (found.execute, found.overdue) == ((), ())
    assert found.submit is not None
    assert outputs_of(found.submit) == [Output("a", '"ra"'), Output("b", '"rb"')]


def test_renewed_call_is_submitted_under_its_new_id() -> None:
    """The API knows it by no other."""
    run = looked(whole(), asks(("d", "2"), ("c", "1")), "step_2")
    found = wants(run, 60, MARGIN_MS)
    assert found.submit is not None
    assert outputs_of(found.submit) == [Output("d", '"rb"'), Output("c", '"ra"')]


def test_step_with_a_call_missing_is_not_submitted() -> None:
    """All outputs of a step are handed in at once, or none; to hand in part of one is a mistake of the caller."""
    run = one_given(opened())
    assert wants(run, 60, MARGIN_MS).submit is None
    assert run.step is not None
    with pytest.raises(AssertionError):
        outputs_of(run.step)


def test_run_is_told_the_same_by_every_replica() -> None:
    """The answer rests on the record, the time and the margin alone."""
    assert wants(begun(), 0, 0) == NOTHING
    assert wants(opened(), 60, MARGIN_MS) == wants(opened(), 60, MARGIN_MS)


@pytest.mark.parametrize("name", ["open", "whole", "submitting"])
def test_run_whose_outputs_were_not_taken_waits_since_its_step_was_seen(name: str) -> None:
    """Also while an attempt to submit them is under way, or nobody knows its end."""
    assert waits_since(RUNS[name]) == OPENED_MS


@pytest.mark.parametrize("name", ["none", "submitted", "over"])
def test_run_that_has_been_given_what_it_asked_for_does_not_wait(name: str) -> None:
    """Nor one that has asked for nothing."""
    assert waits_since(RUNS[name]) is None


def test_run_that_the_api_has_moved_on_does_not_wait() -> None:
    """Whatever is open, only `requires_action` waits."""
    assert waits_since(with_status(opened(), "in_progress")) is None
