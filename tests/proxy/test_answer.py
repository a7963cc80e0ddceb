"""What callers are answered: the tool's reply, a stored result or a refusal, each with Holdfast's own fields."""

from __future__ import annotations

import json

import pytest

from ledger.result import Result
from proxy import answer
from proxy.forward import Replied
from proxy.problems import Kind
from tests.proxy.scripted import Piecemeal
from tests.proxy.world import field

OP = "op_1"


@pytest.mark.fault(11)
def test_tools_reply_is_passed_on_with_ours() -> None:
    """Status, reason, fields in their order and the body as they came; what pretended to be ours is gone."""
    stream = Piecemeal([b"x"])
    replied = Replied(
        418, b"Odd", ((b"x-A", b"1"), (b"Holdfast-Outcome", b"forged"), (b"Connection", b"close"), (b"X-a", b"2")),
        b"body", "chunked", stream, ((b"X-Trailer", b"1"),),
    )  # fmt: skip
    given = answer.of_reply(replied, OP, "executed")
    assert (given.status, given.reason, given.body, given.stream) == (418, b"Odd", b"body", stream)
    assert given.headers == (
        (b"x-A", b"1"), (b"X-a", b"2"), (b"Holdfast-Operation", b"op_1"), (b"Holdfast-Outcome", b"executed"),
    )  # fmt: skip
    assert given.trailers == ((b"X-Trailer", b"1"),)


def test_reply_without_a_key_has_nothing_of_ours() -> None:
    """A read tool's reply is the tool's."""
    assert answer.of_reply(Replied(200, b"", (), b"", "length"), "", "read").headers == ()


@pytest.mark.parametrize(
    ("outcome", "late", "fields"),
    [
        ("joined", False, set()),
        ("replayed", False, {"Idempotent-Replayed"}),
        ("joined", True, {"Holdfast-Late"}),
        ("replayed", True, {"Idempotent-Replayed", "Holdfast-Late"}),
        ("unknown", False, set()),
        ("not-executed", False, set()),
    ],
)
def test_stored_result_says_what_it_is(outcome: answer.Outcome, late: bool, fields: set[str]) -> None:
    """A replay and a late result are told as such."""
    given = answer.of_result(Result(201, b"Created", ((b"ETag", b"1"),), b"{}"), OP, outcome, late=late)
    assert (given.status, given.reason, given.body, given.late) == (201, b"Created", b"{}", late)
    assert {name for name in ("Idempotent-Replayed", "Holdfast-Late") if field(given, name) == "true"} == fields
    assert field(given, "Holdfast-Outcome") == outcome
    assert field(given, "ETag") == "1"


@pytest.mark.parametrize("kind", list(Kind))
def test_refusal_is_a_problem_document_that_is_surely_ours(kind: Kind) -> None:
    """Status, type and length fit, and Proxy-Status keeps anybody from taking it for the tool's."""
    given = answer.refusal(kind, "why", OP, "refused", state="unknown")
    document = json.loads(given.body)
    assert given.status == document["status"] == kind.value.status
    assert document["type"] == f"urn:holdfast:problem:{given.problem}"
    assert (document["detail"], document["operation"], document["state"]) == ("why", OP, "unknown")
    assert field(given, "Content-Type") == "application/problem+json"
    assert field(given, "Content-Length") == str(len(given.body))
    assert str(field(given, "Proxy-Status")).startswith("holdfast; error=")
    assert (field(given, "Holdfast-Operation"), field(given, "Holdfast-Outcome")) == (OP, "refused")


def test_refusal_before_the_key_is_known_names_no_operation() -> None:
    """There is none yet, nor an outcome."""
    given = answer.refusal(Kind.BAD_REQUEST, "why", close=True)
    assert given.close
    assert json.loads(given.body)["operation"] is None
    assert field(given, "Holdfast-Operation") is None
    assert field(given, "Holdfast-Outcome") is None


@pytest.mark.parametrize("can_end", [True, False])
def test_unknown_outcome_says_whether_to_ask_again_may_bring_its_end(can_end: bool) -> None:
    """A program that waits must know whether there is anything to wait for."""
    given = answer.unknown(Kind.UNKNOWN, "why", OP, can_end=can_end)
    assert json.loads(given.body)["can_end"] is can_end
    assert (given.outcome, json.loads(given.body)["state"]) == ("unknown", "unknown")
