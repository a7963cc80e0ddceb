"""Other people's records, told apart by what they say."""

from __future__ import annotations

import pytest

from evaluation.triage.event import Event
from evaluation.triage.reading import event_of
from evaluation.triage.records import Counts, records_of

AT = "2026-03-19T14:12:09.003Z"


def one(text: str) -> Event | None:
    """Return what a single record tells."""
    (record,) = records_of(enumerate(text.splitlines(), 1), Counts())
    return event_of(record)


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        ("x INFO POST /tools/refund_payment req=r payload_hash=h", "sent"),
        ("x WARN refund_payment timed out req=r", "timeout"),
        ("x WARN refund_payment time-out req=r elapsed_ms=9", "timeout"),
        ("x ERROR deadline exceeded req=r", "timeout"),
        ("x ERROR connection reset by peer req=r", "lost"),
        ("x WARN 503 Service Unavailable req=r", "lost"),
        ("x INFO 201 Created req=r tool_audit_id=a", "effect"),
        ("x AUDIT action=send_email http_status=202 payload_hash=h", "effect"),
        ("x INFO run.status run=r1 status=requires_action", "asked"),
        ("x INFO submit_tool_outputs run=r1", "submitted"),
        ("x WARN duplicate submit attempt run=r1", "resubmitted"),
        ("x WARN Replica restarting (OOMKilled=true)", "restart"),
        ("x INFO user message received thread=t", "message"),
        ("x INFO request path=/v1/threads/t/runs/r1", "model"),
    ],
)
def test_line_tells_what_its_words_say(rest: str, kind: str) -> None:
    """Each kind by the words that many systems use for it."""
    event = one(f"{AT} {rest}")
    assert event is not None
    assert (event.kind, event.service) == (kind, "x")


@pytest.mark.parametrize(
    "rest",
    [
        "x INFO all is well queue=3",
        "x INFO run.status run=r1 status=completed",
        "x AUDIT action=send_email http_status=422",
        "x INFO 200 OK path=/healthz",
        "it was a dark and stormy night",
    ],
)
def test_line_about_no_call_tells_nothing(rest: str) -> None:
    """Heartbeats, other statuses, refused requests, prose with a time."""
    assert one(f"{AT} {rest}") is None


def test_run_is_read_from_a_path_and_from_a_pair_of_ids() -> None:
    """`thread/run = status`, and the path of the API."""
    for rest in ("run_status th_1/run_1 = requires_action tool_calls=[c1]", "request path=/v1/threads/th_1/runs/run_1"):
        event = one(f"{AT} x INFO {rest}")
        assert event is not None
        assert (event.thread, event.run) == ("th_1", "run_1")


def test_tool_of_a_time_out_is_its_first_word() -> None:
    """Unless a field has it."""
    event = one(f"{AT} x WARN refund_payment timeout req=r")
    assert event is not None
    assert event.tool == "refund_payment"


def test_replica_is_the_end_of_a_service_with_a_slash() -> None:
    """Or a field of its own."""
    event = one(f"{AT} serving/replica-7 WARN Replica restarting")
    assert event is not None
    assert (event.service, event.replica) == ("serving/replica-7", "replica-7")


def test_object_of_another_system_is_read_by_its_fields() -> None:
    """The nested ones too; its name for the submission is a field."""
    text = '{"service": "s", "run_id": "r1", "dedup_result": "MISS", "submit_tool_outputs": {"http_status": 200}}'
    event = one(text)
    assert event is not None
    assert (event.kind, event.run, event.dedup, event.status) == ("submitted", "r1", "MISS", 200)
