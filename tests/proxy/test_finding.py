"""What a probe's answer says: only what is certainly about this call counts."""

from __future__ import annotations

import pytest

from ledger.records import Call, Unknown
from policies.model import Predicate, Probe, Selector
from proxy.finding import Applied, NoAnswer, NotApplied, judge
from proxy.forward import Lost, NotSent, Outcome, Replied

CLAIMED_MS = 1_700_000_000_500
RECORD = Unknown(
    operation="op_1", fingerprint="f", call=Call(), created_ms=CLAIMED_MS, attempt=1, tokens=("t",), since_ms=0,
    why="lost",
)  # fmt: skip
ITEM = Selector("body", "/items/0")
PROBE = Probe("/tickets?ref={operation}", Predicate(ITEM, "exists"), result=ITEM)


def answered(body: bytes, status: int = 200, framing: str = "length") -> Replied:
    """Return the tool's answer to a probe."""
    return Replied(status, b"", (), body, framing)  # type: ignore[arg-type]


def test_thing_that_is_there_is_the_result() -> None:
    """The part of the answer that the policy names becomes the stored result, with the audit id from it."""
    found = judge(answered(b'{"items": [{"id": "tkt_1", "n": 2}]}'), PROBE, RECORD, Selector("body", "/id"))
    assert isinstance(found, Applied)
    assert (found.result.status, found.result.body) == (200, b'{"id":"tkt_1","n":2}')
    assert found.audit_id == "tkt_1"


@pytest.mark.parametrize(
    "outcome", [answered(b'{"items": []}'), answered(b'{"items": [null]}'), answered(b"{}"), answered(b"", 404)]
)
def test_thing_that_is_not_there_is_not_applied(outcome: Outcome) -> None:
    """An empty list, a null, nothing at all, and a 404 all say that the tool has nothing of the kind."""
    assert isinstance(judge(outcome, PROBE, RECORD), NotApplied)


@pytest.mark.parametrize(
    "outcome",
    [
        answered(b'{"items": [1]}', 500), answered(b'{"items": [1]}', 302), answered(b"<html>"), answered(b""),
        answered(b'{"items": [{"a": 1}]}', framing="close"), Lost("reset"), NotSent("connect", "refused"),
        Replied(200, b"", (), b'{"items": [', "length", stream=object()),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_anything_else_is_no_answer(outcome: Outcome) -> None:
    """An error, a redirect, no JSON, an answer that may be cut, and none at all: nothing to build on."""
    assert isinstance(judge(outcome, PROBE, RECORD), NoAnswer)


@pytest.mark.parametrize(("ref", "kind"), [('"op_1"', Applied), ('"op_2"', NoAnswer), ("null", NoAnswer)])
def test_thing_that_names_another_operation_is_not_ours(ref: str, kind: type) -> None:
    """Where the policy says what must equal the operation id, it must; another's says nothing about ours."""
    probe = Probe("/t", PROBE.applied, matches=Selector("body", "/items/0/ref"))
    assert isinstance(judge(answered(b'{"items": [{"ref": %b}]}' % ref.encode()), probe, RECORD), kind)


@pytest.mark.parametrize(
    ("created", "kind"),
    [
        ('"2023-11-14T22:13:20.6Z"', Applied),
        ('"2023-11-14T22:13:20.4Z"', NoAnswer),
        ('"2023-11-14T22:13:20Z"', Applied),
        ('"2023-11-14T22:13:19Z"', NoAnswer),
        ('"2023-11-14T23:13:21+01:00"', Applied),
        ('"2023-11-14T22:13:21"', NoAnswer),
        ("1700000001", Applied),
        ("1700000000", Applied),
        ("1699999999.9", NoAnswer),
        ("true", NoAnswer),
        ('"yesterday"', NoAnswer),
    ],
)
def test_older_thing_is_not_ours(created: str, kind: type) -> None:
    """What was made before the claim is an older identical one. A time in whole seconds stands for its whole second;
    one without an offset is no moment."""
    probe = Probe("/t", PROBE.applied, created=Selector("body", "/items/0/created_at"))
    assert isinstance(judge(answered(b'{"items": [{"created_at": %b}]}' % created.encode()), probe, RECORD), kind)


def test_result_that_is_missing_from_the_answer_is_no_answer() -> None:
    """If callers cannot be answered from it, it is not taken."""
    probe = Probe("/t", PROBE.applied, result=Selector("body", "/ticket"))
    assert isinstance(judge(answered(b'{"items": [1]}'), probe, RECORD), NoAnswer)
