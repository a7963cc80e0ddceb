"""Results of calls: what each is taken for, in each state of its step."""

from __future__ import annotations

import pytest

from coordinator import transitions
from coordinator.records import Run
from tests.coordinator.run_samples import (
    asks,
    begun,
    lines,
    looked,
    opened,
    result,
    submitted,
    submitting,
    superseded,
    whole,
)

OVERDUE = result("overdue", "error")


def with_error() -> Run:
    """Call `a` has an error of ours for an output."""
    return transitions.given(opened(), "a", OVERDUE, 20)[0]


@pytest.mark.parametrize(
    ("run", "given", "taking"),
    [
        (opened(), result(), "taken"),
        (opened(), result("posted", "posted"), "taken"),
        (opened(), OVERDUE, "taken"),
        (with_error(), result(), "taken"),
        (with_error(), OVERDUE, "duplicate"),
        (with_error(), result("other", "error"), "late"),
        (whole(), result("ra"), "duplicate"),
        (whole(), result("rx"), "conflict"),
        (whole(), result("rx", "posted"), "conflict"),
        (whole(), OVERDUE, "late"),
        (submitting(), result("ra"), "duplicate"),
        (submitting(), result("rx"), "conflict"),
        (submitted(), result("ra"), "duplicate"),
        (submitted(), result("rx"), "conflict"),
        (begun(), result(), "unknown"),
    ],
)  # fmt: skip
def test_result_is_taken_for_what_it_is(run: Run, given: object, taking: str) -> None:
    """The first is taken, a true one in place of our error; the same is a duplicate, another a conflict; and being
    given twice changes nothing more."""
    after, was = transitions.given(run, "a", given, 50)  # type: ignore[arg-type]
    assert was == taking
    again, second = transitions.given(after, "a", given, 60)  # type: ignore[arg-type]
    assert again == after
    assert second == ("duplicate" if taking == "taken" else taking)
    if taking != "taken":
        assert after.steps == run.steps
    assert lines(after) == lines(run) + ([{"taken": "result"}.get(taking, taking)] if after != run else [])


def test_truth_that_comes_after_our_error_was_handed_in_is_late() -> None:
    """It cannot be handed in any more, and is written down."""
    run = transitions.submitting(transitions.given(with_error(), "b", result("rb"), 20)[0], "token", 30)
    after, taking = transitions.given(run, "a", result("truth"), 40)
    assert taking == "late"
    assert after.steps == run.steps
    assert lines(after)[-1] == "late"


def test_result_belongs_to_whatever_id_the_call_has_by_now() -> None:
    """The proxy knows a renewed call by its first name: its result goes to the newest step."""
    run, taking = transitions.given(superseded(), "a", result("ra"), 20)
    assert taking == "taken"
    assert run.steps[-1].calls[0].given == result("ra")
    assert run.steps[0].calls[0].given is None


def test_result_for_a_superseded_call_is_late() -> None:
    """A call that is not asked for any more gets nothing handed in."""
    assert transitions.given(superseded(), "b", result(), 20)[1] == "late"


def test_ids_that_were_exchanged_do_not_exchange_results() -> None:
    """A provider that numbers its calls may ask for them in another order: each result goes to its own call."""
    run = looked(opened(), asks(("a", "2"), ("b", "1")), "step_2")
    run, _ = transitions.given(run, "a", result("of 1"), 20)
    run, _ = transitions.given(run, "b", result("of 2"), 20)
    found = {call.arguments: call.given and call.given.digest for call in run.steps[-1].calls}
    assert found == {"1": "of 1", "2": "of 2"}


def test_stray_does_not_get_its_namesakes_result() -> None:
    """A stray under an id that names another call has a name of its own."""
    run = looked(opened(), asks(("a", "2"), ("b", "9")), "step_2")
    run, _ = transitions.given(run, "b", result("of 2"), 20)
    assert [call.given and call.given.digest for call in run.steps[-1].calls] == ["of 2", None]
