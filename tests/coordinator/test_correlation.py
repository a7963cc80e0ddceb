"""Which call a posted result belongs to, and that nothing is ever guessed."""

from __future__ import annotations

import pytest

from coordinator import transitions
from coordinator.correlation import Meant, Unmatched, Why, correlate
from coordinator.records import Run
from tests.coordinator.run_samples import (
    asks,
    begun,
    looked,
    opened,
    over,
    result,
    submitted,
    superseded,
    whole,
)


def meant(run: Run, call: str, step: str = "", thread: str = "thread_1", *, complete: bool = False) -> str | Why:
    """Return the name of the call that is meant, or why none is."""
    found = correlate(run, thread, step, call, complete=complete)
    return found.known_as if isinstance(found, Meant) else found.why


def numbered() -> Run:
    """A provider that uses `a` and `b` again in its second step, for other calls."""
    return looked(submitted(), asks(("a", "7"), ("b", "8")), "step_2")


def exchanged() -> Run:
    """Calls that were asked for again with their ids exchanged."""
    return looked(opened(), asks(("a", "2"), ("b", "1")), "step_2")


def one_waits() -> Run:
    """Only call `b` waits for a result."""
    return transitions.given(opened(), "a", result(), 20)[0]


@pytest.mark.parametrize(
    ("run", "call", "step", "expected"),
    [
        (opened(), "a", "", "a"),
        (opened(), "a", "step_1", "a"),
        (opened(), "a", "step_9", "step-mismatch"),
        (opened(), "x", "", "unknown-call"),
        (opened(), "x", "step_1", "unknown-call"),
        (begun(), "a", "", "unknown-call"),
        (submitted(), "a", "", "a"),
        (over(), "a", "", "a"),
        # A renewed call, by each of its ids, in whichever step.
        (superseded(), "a", "", "a"),
        (superseded(), "c", "", "a"),
        (superseded(), "c", "step_2", "a"),
        (superseded(), "a", "step_1", "a"),
        (superseded(), "a", "step_2", "a"),
        (superseded(), "c", "step_1", "step-mismatch"),
        # Ids that meant others before.
        (numbered(), "a", "", "ambiguous"),
        (numbered(), "a", "step_1", "a"),
        (numbered(), "a", "step_2", "step_2/a"),
        (numbered(), "step_2/a", "", "step_2/a"),
        (exchanged(), "a", "", "ambiguous"),
        (exchanged(), "a", "step_1", "a"),
        (exchanged(), "a", "step_2", "ambiguous"),
    ],
)
def test_result_belongs_to_one_call_or_none(run: Run, call: str, step: str, expected: str) -> None:
    """By the API's id or the proxy's name, in any step or the named one; what could be two calls is neither."""
    assert meant(run, call, step) == expected


def test_another_thread_is_refused_first() -> None:
    """A run belongs to one thread; whoever names another means another run."""
    for call in ("a", "x", ""):
        assert meant(opened(), call, thread="thread_2", complete=True) == "thread-mismatch"


def test_missing_id_is_refused_unless_it_may_be_completed() -> None:
    """Completion is the operator's word, not the default."""
    assert meant(one_waits(), "") == "ambiguous"
    assert meant(one_waits(), "", complete=True) == "b"
    assert meant(one_waits(), "", "step_1", complete=True) == "b"


@pytest.mark.parametrize(
    ("run", "step"),
    [(opened(), ""), (whole(), ""), (submitted(), ""), (over(), ""), (begun(), ""), (one_waits(), "step_9")],
)
def test_missing_id_is_completed_only_where_one_call_waits(run: Run, step: str) -> None:
    """Two, none, a step that takes nothing any more, or another step: refused."""
    assert meant(run, "", step, complete=True) == "ambiguous"


def test_completed_id_is_the_name_of_a_renewed_call() -> None:
    """The one that waits may have had other ids."""
    assert meant(superseded(), "", complete=True) == "a"


def test_refusal_says_why_in_words() -> None:
    """Whoever posted the result is told what it was about."""
    found = correlate(opened(), "thread_1", "step_9", "a", complete=False)
    assert found == Unmatched("step-mismatch", "call a belongs to step step_1, not to step_9")
    found = correlate(opened(), "thread_1", "", "", complete=True)
    assert found == Unmatched("ambiguous", "tool_call_id is missing, and 2 calls wait for a result")
