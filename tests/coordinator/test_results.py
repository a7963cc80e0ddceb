"""What is handed in for each of the ways that a call can go, and what the answer to that means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.backend import Accepted, Away, Gone, Refused, Unclear
from coordinator.outputs import output_digest
from coordinator.records import Call
from coordinator.results import end_of, given_of, in_place_of
from coordinator.tools import Told, Verdict


def error_in(output: str | None) -> dict[str, Any]:
    """Return the error that an output is."""
    assert output is not None
    error: dict[str, Any] = json.loads(output)["error"]
    return error


def test_answer_of_the_tool_is_handed_in_as_it_is() -> None:
    """Its own words, with their digest, and how the proxy came by them."""
    given = given_of(Told("answered", '{"id":1}', 201, "replayed", "op_1"), 7)
    assert given is not None
    assert (given.output, given.digest, given.source) == ('{"id":1}', output_digest('{"id":1}'), "tool")
    assert (given.outcome, given.operation, given.at_ms) == ("replayed", "op_1", 7)


def test_answer_to_a_read_says_so() -> None:
    """The proxy has no outcome for a read."""
    given = given_of(Told("answered", "1", 200), 7)
    assert given is not None
    assert given.outcome == "read"


def test_call_that_is_late_is_nothing_yet() -> None:
    """The time of who asked was over: that says nothing of the call."""
    assert given_of(Told("overdue", problem="in-flight", status=409), 7) is None


@pytest.mark.parametrize(
    ("verdict", "problem", "outcome", "repeat"),
    [
        ("unknown", "outcome-unknown", "unknown", True),
        ("unreached", "", "unreached", False),
        ("refused", "key-reused", "key-reused", True),
        ("refused", "", "refused", True),
    ],
)
def test_call_without_an_answer_is_handed_in_as_an_honest_error(
    verdict: Verdict, problem: str, outcome: str, repeat: bool
) -> None:
    """It says what is known, whose operation it is, and not to repeat whatever may have run."""
    given = given_of(Told(verdict, problem=problem, operation="op_1"), 7)
    assert given is not None
    assert (given.source, given.outcome, given.operation) == ("error", outcome, "op_1")
    error = error_in(given.output)
    assert (error["outcome"], error["operation"], error["do_not_repeat"]) == (outcome, "op_1", repeat)
    assert error["detail"]


@pytest.mark.parametrize(
    ("stray", "asked", "elsewhere", "outcome"),
    [
        (True, False, False, "regenerated_call"),
        (False, True, False, "overdue"),
        (False, False, False, "overdue"),
        (False, False, True, "not-posted"),
        (False, True, True, "overdue"),
    ],
)
def test_call_without_time_is_told_why(stray: bool, asked: bool, elsewhere: bool, outcome: str) -> None:
    """A variant of an earlier call, a tool that is slow, a gateway that has not answered: none may be repeated."""
    call = Call("call_1", "create_ticket", "digest", write=True, deadline_ms=5, stray=stray)
    given = in_place_of(call, 7, asked=asked, elsewhere=elsewhere)
    assert (given.source, given.outcome) == ("error", outcome)
    error = error_in(given.output)
    assert (error["outcome"], error["do_not_repeat"]) == (outcome, True)
    assert error["detail"] != outcome


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (Accepted(), ("accepted", "")),
        (Refused(400, "no"), ("refused", "400: no")),
        (Gone("no run"), ("refused", "no run")),
        (Away("busy", 5), ("not-sent", "busy")),
        (Unclear("cut"), ("unclear", "cut")),
    ],
)
def test_answer_to_a_submission_ends_its_attempt(
    answer: Accepted | Refused | Gone | Away | Unclear, end: tuple[str, str]
) -> None:
    """Unknown stays unknown; all others are an end, with the API's words."""
    assert end_of(answer) == end
