"""One record of each state, and the events that can befall it: what tests of records and transitions share."""

from __future__ import annotations

from ledger.events import Lapsed, Lost, NotSent, Replied, Resumed, TimedOut
from ledger.records import Call, Completed, Event, Free, InFlight, Record, Unknown
from ledger.transitions import claim
from policies.model import Verdict

OPERATION = "op_1"
FINGERPRINT = "f1"
OLD, NEW, FOREIGN = "token-old", "token-new", "token-foreign"
"""The record's first and its newest claim, and one that it never heard of."""

CALL = Call(tenant="acme", tool="create_ticket", run_id="run_1", tool_call_id="call_1")
FIRST = Event(1, "claimed", OLD)
DIGEST, OTHER_DIGEST = "d-stands", "d-other"


def in_flight() -> InFlight:
    """Return a record that was claimed twice and is in flight."""
    return InFlight(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,),
    )  # fmt: skip


def unknown(*, listening: bool = False, why: str = "lost") -> Unknown:
    """Return a record of unknown outcome."""
    return Unknown(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), since_ms=5, why=why, listening=listening,
    )  # fmt: skip


def completed() -> Completed:
    """Return a record whose reply has the digest `DIGEST`."""
    return Completed(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), completed_ms=5, status=200, digest=DIGEST,
    )  # fmt: skip


def free(why: str = "not-sent") -> Free:
    """Return a record that may be claimed again."""
    return Free(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), since_ms=5, why=why,
    )  # fmt: skip


RECORDS: dict[str, Record] = {
    "in flight": in_flight(),
    "unknown": unknown(),
    "unknown, listening": unknown(listening=True, why="timeout"),
    "completed": completed(),
    "free": free(),
}
"""Every state that a record can be in, absent aside."""


def replied(token: str, verdict: Verdict = Verdict.FINAL, digest: str = DIGEST, *, late: bool = False) -> Replied:
    """Return a reply to the attempt of `token`, its status one that fits `verdict`."""
    status = {Verdict.FINAL: 200, Verdict.NOT_FINAL: 429, Verdict.NEITHER: 500}[verdict]
    return Replied(token, verdict, status, digest, late=late)


def ending(how: str, token: str) -> Replied | NotSent | Lost | TimedOut | Resumed:
    """Return the event of the attempt of `token` ending as `how`, one of `ENDINGS`, says."""
    match how:
        case "final":
            return replied(token)
        case "final, other":
            return replied(token, digest=OTHER_DIGEST)
        case "not final":
            return replied(token, Verdict.NOT_FINAL)
        case "neither":
            return replied(token, Verdict.NEITHER)
        case "not sent":
            return NotSent(token, "connect: refused")
        case "withdrawn":
            return NotSent(token, "the store did not confirm the claim", withdrawn=True)
        case "lost":
            return Lost(token, "reset")
        case "timed out":
            return TimedOut(token)
        case "resumed":
            return Resumed(token)
        case _:
            raise ValueError(how)


ENDINGS = ("final", "final, other", "not final", "neither", "not sent", "withdrawn", "lost", "timed out", "resumed")
"""What can be said of an attempt, as events of its token."""

LAPSED = Lapsed()


def claimed(over: Free | None, token: str, now_ms: int = 100) -> InFlight:
    """Return the claim of `token`."""
    return claim(over, operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, token=token, now_ms=now_ms)
