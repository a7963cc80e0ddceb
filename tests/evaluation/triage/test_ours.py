"""Records of Holdfast's own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evaluation.tools.audit import Effect
from evaluation.triage.ours import COORDINATOR, PROXY, from_audit, from_coordinator, from_proxy, is_audit
from proxy.log import RequestLine


def line(**fields: Any) -> dict[str, Any]:
    """Return a request's line as the proxy writes it."""
    written = RequestLine("2026-03-19T14:00:00.000Z", "info", PROXY, "request", **fields)
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(written))
    return value


@pytest.mark.parametrize(
    ("outcome", "upstream", "kind"),
    [
        ("executed", 201, "effect"), ("executed", 422, "told"), ("unprotected", 200, "effect"),
        ("observed", 200, "effect"), ("joined", 0, "prevented"), ("replayed", 0, "prevented"),
        ("unknown", 503, "unknown"),
    ],
)  # fmt: skip
def test_line_of_the_proxy_tells_what_its_outcome_means(outcome: str, upstream: int, kind: str) -> None:
    """A final refusal of the tool's is no effect; a duplicate that was answered is none either."""
    event = from_proxy(line(outcome=outcome, upstream_status=upstream, operation="op_1", attempt=1), "")
    assert event is not None
    assert (event.kind, event.operation, event.status) == (kind, "op_1", upstream)


def test_tenant_that_no_policy_names_is_none() -> None:
    """So that the proxy's lines and the tools' audit speak of the same tenant."""
    for written, read in (("-", ""), ("acme", "acme")):
        event = from_proxy(line(outcome="executed", upstream_status=200, tenant=written), "")
        assert event is not None
        assert event.tenant == read


def test_read_through_the_proxy_tells_nothing() -> None:
    """It has no effect."""
    assert from_proxy(line(outcome="read"), "") is None


def test_hash_of_the_proxy_is_marked_as_its_own() -> None:
    """It is keyed: it must not be laid beside that of another service."""
    event = from_proxy(line(outcome="executed", upstream_status=200, payload_hash="aa"), "")
    assert event is not None
    assert (event.payload, event.hashed) == ("aa", PROXY)


def test_audit_line_has_arrival_effect_and_whether_it_was_answered() -> None:
    """As the simulated tools write it."""
    effect = Effect(
        tool="send_email", payload_hash="aa", run_id="r", tool_call_id="c", audit_id="eml_1", arrived_at=1773928800.25,
        ts=1773928801.0, answered=0, faults=("applied-then-cut",),
    )  # fmt: skip
    value = msgspec.json.decode(msgspec.json.encode(effect))
    assert is_audit(value)
    event = from_audit(value, "")
    assert (event.kind, event.audit, event.began) == ("effect", "eml_1", 1_773_928_800_250)
    assert event.detail == "answer cut off (applied-then-cut)"


@pytest.mark.parametrize(
    ("fields", "kind", "detail"),
    [
        ({"event": "step.asked", "calls": 2, "renewed": 1}, "asked", "renewed=1"),
        (
            {"event": "tool.called", "verdict": "done", "outcome": "executed", "tries": 2},
            "told",
            "done executed tries=2",
        ),
        ({"event": "step.submitted", "result": "accepted", "attempt": 1}, "submitted", "accepted"),
        ({"event": "step.submitted", "result": "accepted", "attempt": 2}, "resubmitted", "accepted"),
        ({"event": "result.conflict"}, "alarm", "result.conflict"),
        ({"event": "coordinator.started", "owner": "me"}, "restart", "coordinator.started"),
    ],
)
def test_event_of_the_coordinator_is_read(fields: dict[str, Any], kind: str, detail: str) -> None:
    """A number of calls is not taken for their ids."""
    event = from_coordinator({"service": COORDINATOR, "run_id": "r", **fields}, "")
    assert event is not None
    assert (event.kind, event.detail, event.calls, event.run) == (kind, detail, "", "r")


def test_other_events_of_ours_tell_nothing() -> None:
    """Neither of the two."""
    assert from_proxy({"service": PROXY, "event": "policies.accepted"}, "") is None
    assert from_coordinator({"service": COORDINATOR, "event": "letter.dropped"}, "") is None
