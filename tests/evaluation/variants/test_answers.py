"""What an attempt to call a tool comes to."""

from __future__ import annotations

import json

import pytest

from evaluation.variants.answers import UNKNOWN, ended
from evaluation.variants.exchange import Lost, NotSent, Replied


def replied(status: int, body: str = "", **fields: str) -> Replied:
    """Return an answer; underscores in names of fields stand for hyphens."""
    return Replied(status, {name.replace("_", "-"): value for name, value in fields.items()}, body.encode())


def test_success_is_handed_in_as_the_tool_wrote_it() -> None:
    """JSON as it came, other text as a JSON string; nothing is tried again."""
    told = ended(replied(201, '{"id": 1.50}'))
    assert (told.output, told.again, told.outcome) == ('{"id": 1.50}', False, "answered")
    assert json.loads(ended(replied(200, "it is done")).output) == "it is done"


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (Lost("no answer within 10 s", timed_out=True), "timed-out"),
        (Lost("connection reset"), "unreachable"),
        (NotSent("connection refused"), "unreachable"),
    ],
)
def test_attempt_without_an_answer_is_made_again(told: Lost | NotSent, outcome: str) -> None:
    """Whether or not the tool may have acted: the seed's pool does not tell the two apart."""
    come_to = ended(told)
    assert come_to.again
    assert json.loads(come_to.output)["error"]["outcome"] == outcome


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_answer_that_says_not_now_is_a_reason_to_try_again(status: int) -> None:
    """With the tool's own wish for when, up to 5 s."""
    told = ended(replied(status, '{"error": "busy"}', retry_after="2"))
    assert (told.again, told.after_s) == (True, 2.0)
    assert ended(replied(status, retry_after="60")).after_s == 5.0
    assert not ended(replied(status, x_should_retry="false")).again
    shown = json.loads(told.output)["error"]
    assert (shown["status"], shown["body"]) == (status, {"error": "busy"})


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_other_failure_is_an_answer(status: int) -> None:
    """It is handed in as an error at once."""
    told = ended(replied(status, "no"))
    assert not told.again
    assert json.loads(told.output)["error"] == {"outcome": "failed", "status": status, "body": "no"}


def test_call_that_somebody_is_still_at_is_asked_for_again() -> None:
    """409 with Retry-After."""
    assert ended(replied(409, retry_after="1")).again


@pytest.mark.parametrize("can_end", [True, False])
@pytest.mark.parametrize("status", [409, 502, 504])
def test_unknown_outcome_is_handed_in_as_unknown(status: int, can_end: bool) -> None:
    """And asked about again first, where the problem says that this may bring its end."""
    problem = {"type": UNKNOWN, "detail": "nobody knows", "operation": "op_1", "can_end": can_end}
    told = ended(replied(status, json.dumps(problem), content_type="application/problem+json", x_should_retry="false"))
    assert told.again is can_end
    error = json.loads(told.output)["error"]
    assert error == {"outcome": "unknown", "operation": "op_1", "do_not_repeat": True, "detail": "nobody knows"}


def test_problem_that_cannot_be_read_is_an_answer_like_any_other() -> None:
    """Its status decides."""
    assert json.loads(ended(replied(409, "{", content_type="application/problem+json")).output)["error"]["body"] == "{"
