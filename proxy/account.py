"""An operation told to people and programs: state, whose call it is, what can still end it, and its whole history.

Hashes stand for what was asked, as in the logs; no body, no header's value and no token of a claim is ever in it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_never

import msgspec

from ledger.records import Alias, Completed, Event, Free, InFlight, Record, Unknown
from policies.model import ToolPolicy


def instant(at_ms: int) -> str:
    """Return a wall-clock moment as RFC 3339, in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def state_of(record: Record) -> str:
    """Return the name of a record's state."""
    tag = record.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def changed_ms(record: Record) -> int:
    """Return since when the record is as it is: for an unknown one, since it became unknown."""
    match record:
        case Unknown() | Free() | Alias():
            return record.since_ms
        case Completed():
            return record.completed_ms
        case InFlight():
            return record.history[-1].at_ms if record.history else record.created_ms
        case _ as never:
            assert_never(never)


def account(
    record: Record, *, has_result: bool, lease_left_ms: int | None, now_ms: int, payload_hash: str,
    policy: ToolPolicy | None,
) -> dict[str, Any]:  # fmt: skip
    """Return one operation for a listing. `policy` is the one in force for its tool, if there still is one."""
    since_ms = changed_ms(record)
    told: dict[str, Any] = {
        "operation": record.operation,
        "state": state_of(record),
        **msgspec.to_builtins(record.call),
        "attempt": record.attempt,
        "created": instant(record.created_ms),
        "since": instant(since_ms),
        "age_s": max(0, now_ms - since_ms) // 1_000,
        "payload_hash": payload_hash,
    }
    leased = lease_left_ms is not None and lease_left_ms > 0
    match record:
        case InFlight():
            told |= {"lease_left_ms": lease_left_ms, "resent": record.resent}
        case Unknown():
            told |= {"why": record.why, "detail": record.detail, "status": record.status, "resent": record.resent}
            told |= _ends(record, now_ms, policy, leased=leased, lease_left_ms=lease_left_ms)
        case Completed():
            told |= {
                "status": record.status, "late": record.late, "failed": record.failed, "source": record.source,
                "audit_id": record.audit_id, "has_result": has_result, "unkept": record.unkept,
            }  # fmt: skip
        case Free():
            told |= {"why": record.why, "detail": record.detail, "status": record.status}
        case Alias():
            told["of"] = record.of
        case _ as never:
            assert_never(never)
    return told


def with_history(told: dict[str, Any], record: Record) -> dict[str, Any]:
    """Add the operation's history: what happened, when, and to which of its attempts."""
    return told | {"history": [_line(event, record) for event in record.history]}


def endings(record: Unknown, now_ms: int, policy: ToolPolicy | None, *, leased: bool) -> tuple[str, ...]:
    """Return what can still end an unknown without an operator. `leased`: a process holds it by a lease."""
    ends: tuple[str, ...] = ("a late reply",) if record.listening and leased else ()
    if record.probing is not None:
        ends += ("a probe",)
    if policy is not None and now_ms < _resend_until_ms(record, policy):
        ends += ("a resend",)
    return ends


def can_end(record: Record | None, now_ms: int, policy: ToolPolicy) -> bool:
    """Say whether who is told `outcome-unknown` may hear more without an operator. What is no longer unknown has
    ended: to ask again is to be told. Listeners live: the watch that found this record has the dead ones' lapse."""
    return not isinstance(record, Unknown) or bool(endings(record, now_ms, policy, leased=True))


def _resend_until_ms(record: Unknown, policy: ToolPolicy) -> int:
    within_ms = policy.unknown.within_ms if policy.unknown.then == "resend" else None
    return record.created_ms + (within_ms or 0)


def _ends(
    record: Unknown, now_ms: int, policy: ToolPolicy | None, *, leased: bool, lease_left_ms: int | None
) -> dict[str, Any]:
    """Return what can still end an unknown, and until when."""
    ends = endings(record, now_ms, policy, leased=leased)
    told: dict[str, Any] = {"listening": "a late reply" in ends, "probing": None, "resend_until": None}
    if record.probing is not None:
        told["probing"] = {"asked": record.probing.asked, "next_in_ms": None if record.listening else lease_left_ms}
    if policy is not None and "a resend" in ends:
        told["resend_until"] = instant(_resend_until_ms(record, policy))
    return told | {"can_end": [*ends, "a ruling"]}


def _line(event: Event, record: Record) -> dict[str, Any]:
    told: dict[str, Any] = {"at": instant(event.at_ms), "what": event.what}
    if event.token in record.tokens:
        told["attempt"] = record.attempt - (len(record.tokens) - 1 - record.tokens.index(event.token))
    return told | ({"detail": event.detail} if event.detail else {})
