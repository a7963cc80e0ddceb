"""From the forward's outcome to what the ledger is told."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import events
from ledger import result as results
from policies.model import Predicate, ResultRules, Selector, Verdict
from proxy.forward import Headers, Lost, NotSent, Replied
from proxy.outcomes import told
from tests.proxy.scripted import Piecemeal

RULES = ResultRules()
IS_ERROR = ResultRules(failed_if=(Predicate(Selector("body", "/isError"), "==", literal=True),))
JSON: Headers = ((b"Content-Type", b"application/json"),)


def reply(status: int = 200, body: bytes = b"{}", headers: Headers = JSON, **other: Any) -> Replied:
    """Return a whole reply."""
    return Replied(status, b"OK", headers, body, **{"framing": "length", **other})


def replied(given: Replied, rules: ResultRules = RULES) -> events.Replied:
    """Return the event that is made of a reply."""
    event = told(given, "t", rules, late=False).event
    assert isinstance(event, events.Replied)
    return event


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ([200, 201, 204, 301, 303, 400, 404, 409, 422, 499], Verdict.FINAL),
        ([401, 403, 407, 425, 429], Verdict.NOT_FINAL),
        ([408, 500, 502, 503, 504, 599], Verdict.NEITHER),
    ],
)
def test_status_means_what_the_default_policy_says(statuses: list[int], verdict: Verdict) -> None:
    """`notFinal` before `final`, and what is in neither settles nothing."""
    assert {replied(reply(status)).verdict for status in statuses} == {verdict}


@pytest.mark.parametrize("timed_out", [False, True])
def test_not_sent_stays_not_sent(timed_out: bool) -> None:
    """With its phase, for whoever reads the history."""
    event = told(NotSent("tls", "bad certificate", timed_out), "t", RULES, late=False).event
    assert event == events.NotSent("t", "tls: bad certificate", timed_out)


def test_lost_stays_lost() -> None:
    """It is never rounded to anything else."""
    assert told(Lost("reset"), "t", RULES, late=True).event == events.Lost("t", "reset")


def test_late_reply_says_so() -> None:
    """Whether the first caller had gone."""
    event = told(reply(), "t", RULES, late=True).event
    assert isinstance(event, events.Replied)
    assert event.late


@pytest.mark.fault(11, 32)
def test_what_is_kept_is_what_another_caller_may_see() -> None:
    """No cookies, nothing of the connection, nothing that pretends to be ours."""
    headers = (
        *JSON, (b"Set-Cookie", b"session=1"), (b"Connection", b"x-hop"), (b"X-Hop", b"1"), (b"ETag", b'"1"'),
        (b"Holdfast-Outcome", b"executed"), (b"Idempotent-Replayed", b"true"), (b"Content-Length", b"2"),
    )  # fmt: skip
    kept = told(reply(headers=headers), "t", RULES, late=False).result
    assert kept == results.Result(200, b"OK", (*JSON, (b"ETag", b'"1"')), b"{}")


def test_digest_is_the_replys() -> None:
    """Two equal replies have one, others another."""
    assert replied(reply()).digest == replied(reply(headers=(*JSON, (b"Date", b"x")))).digest
    assert len({replied(given).digest for given in (reply(), reply(201), reply(body=b"[]"))}) == 3


@pytest.mark.fault(24, 30, 31)
@pytest.mark.parametrize(
    ("given", "unkept"),
    [
        (reply(stream=Piecemeal(())), "too-large"),
        (reply(headers=((b"content-type", b"text/event-stream; x"),), stream=Piecemeal(())), "streamed"),
        (reply(headers=((b"Content-Type", b"Text/Event-Stream"),), stream=Piecemeal(())), "streamed"),
        (reply(framing="close"), "close-delimited"),
        (reply(framing="chunked"), ""),
        (reply(framing="none", body=b""), ""),
    ],
)
def test_reply_that_is_not_surely_whole_is_not_kept(given: Replied, unkept: str) -> None:
    """And the record says why."""
    kept = told(given, "t", RULES, late=False).result
    assert replied(given).unkept == unkept
    assert (kept is None) == bool(unkept)


def test_policy_can_vouch_for_close_delimited_replies() -> None:
    """For tools that know no better."""
    rules = ResultRules(close_delimited_is_whole=True)
    assert replied(reply(framing="close"), rules).unkept == ""
    assert told(reply(framing="close"), "t", rules, late=False).result is not None


@pytest.mark.fault(33)
@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (b'{"isError": true}', True),
        (b'{"isError": false}', False),
        (b'{"isError": 1}', False),
        (b"{}", False),
        (b"[]", False),
        (b"no JSON", False),
        (b"", False),
        (b"\xff", False),
        (b"[" * 100_000, False),
    ],
)
def test_failure_is_found_in_the_body(body: bytes, failed: bool) -> None:
    """By the policy's predicate; a body that cannot be read reports nothing."""
    assert replied(reply(body=body), IS_ERROR).failed is failed
    assert not replied(reply(body=body)).failed


@pytest.mark.parametrize(
    ("selector", "given", "named"),
    [
        (Selector("body", "/id"), reply(body=b'{"id": "T-7"}'), "T-7"),
        (Selector("body", "/id"), reply(body=b'{"id": 7}'), "7"),
        (Selector("body", "/id"), reply(body=b'{"id": {}}'), ""),
        (Selector("body", "/id"), reply(body=b"T-7"), ""),
        (Selector("body", "/id"), reply(body=b'{"id": "T-7"}', stream=Piecemeal(())), ""),
        (Selector("body", "/id"), reply(500, body=b'{"id": "T-7"}'), ""),
        (Selector("body", "/id"), reply(body=b'{"id": "%b"}' % (b"x" * 1_000)), "x" * 200),
        (Selector("header", "X-Ticket"), reply(headers=((b"x-ticket", b"T-7"),), stream=Piecemeal(())), "T-7"),
        (Selector("header", "X-Ticket"), reply(), ""),
    ],
)
def test_tools_own_id_is_read_where_the_policy_says(selector: Selector, given: Replied, named: str) -> None:
    """From a final reply only, and from a body only if it is whole; never more than so much of it."""
    assert replied(given, ResultRules(audit_id=selector)).audit_id == named


@pytest.mark.parametrize(
    ("given", "length"),
    [
        (reply(body=b"12345"), b"5"),
        (reply(headers=((b"Content-Length", b"999"),), stream=Piecemeal(())), b"999"),
        (reply(headers=((b"Content-Length", b"many"),), stream=Piecemeal(())), None),
    ],
)
def test_head_of_a_final_reply_outlives_its_body(given: Replied, length: bytes | None) -> None:
    """What was announced of a body that was passed on, the length of one that was kept."""
    assert dict(replied(given).head).get(b"Content-Length") == length
    assert replied(reply(500)).head == ()
