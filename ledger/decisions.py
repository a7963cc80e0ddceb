"""What an arrival gets, by what stands at its place: the rows of `ledger.transitions`' table that change nothing but
by a claim.

Values in, values out: the time is an argument, and so is what the store said of the record.
"""

from __future__ import annotations

import enum
from typing import assert_never

from msgspec import Struct

from ledger.records import Alias, Completed, Free, InFlight, Record, Unknown


class Reason(enum.Enum):
    """Why an arrival is refused without being forwarded."""

    KEY_REUSED = "key-reused"
    OUTCOME_UNKNOWN = "outcome-unknown"
    RESULT_UNAVAILABLE = "result-unavailable"


class ForwardIt(Struct, frozen=True, gc=False):
    """Claim the key (over `free`, the record that stands there, if one does) and send the request to the tool."""

    free: Free | None


class ResendIt(Struct, frozen=True):
    """Claim the unknown once more and send the request again: the tool honours our key."""

    record: Unknown


class FollowIt(Struct, frozen=True):
    """Another operation has this one's effect: what is known of that one decides."""

    alias: Alias


class JoinIt(Struct, frozen=True):
    """Wait for what the record's newest attempt brings."""


class LapseFirst(Struct, frozen=True):
    """The lease is over and nobody has said so yet: apply `Lapsed`, then judge again."""


class ReplayIt(Struct, frozen=True, gc=False):
    """Answer with the stored result."""

    record: Completed


class RefuseIt(Struct, frozen=True, gc=False):
    """Answer without forwarding."""

    reason: Reason


Decision = ForwardIt | ResendIt | FollowIt | JoinIt | LapseFirst | ReplayIt | RefuseIt


def decide(
    record: Record | None, fingerprint: str, *, has_result: bool, lease_left_ms: int | None, resend: bool = False
) -> Decision:
    """Say what an arriving request gets. `lease_left_ms` and `has_result` are what the store said of the record;
    `resend`: the tool honours our key, and its window is open for this operation (`may_resend`)."""
    if record is None:
        return ForwardIt(None)
    if record.fingerprint != fingerprint:
        return RefuseIt(Reason.KEY_REUSED)
    leased = lease_left_ms is not None and lease_left_ms > 0
    match record:
        case Free():
            return ForwardIt(record)
        case InFlight():
            return JoinIt() if leased else LapseFirst()
        case Unknown():
            if (record.listening and leased) or record.probing is not None:
                return JoinIt()
            return ResendIt(record) if resend else RefuseIt(Reason.OUTCOME_UNKNOWN)
        case Completed():
            return ReplayIt(record) if has_result else RefuseIt(Reason.RESULT_UNAVAILABLE)
        case Alias():
            return FollowIt(record)
        case _ as never:
            assert_never(never)


def may_resend(record: Unknown, within_ms: int | None, now_ms: int) -> bool:
    """Say whether a resend may begin: within `within_ms` of the first attempt's claim, by wall clocks (decision
    0013)."""
    return within_ms is not None and 0 <= now_ms - record.created_ms < within_ms
