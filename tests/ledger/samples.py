"""One record of each state, and the events that can befall it: what tests of records and transitions share."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from ledger.events import Asking, Lapsed, Lost, NotSent, Probed, Replied, Resumed, Ruled, TimedOut
from ledger.records import (
    Alias,
    Call,
    Completed,
    EffectHold,
    Event,
    Free,
    InFlight,
    ProbePlan,
    Probing,
    Record,
    Unknown,
)
from ledger.transitions import claim
from policies.model import Verdict

OPERATION = "op_1"
FINGERPRINT = "f1"
OLD, NEW, FOREIGN = "token-old", "token-new", "token-foreign"
"""The record's first and its newest claim, and one that it never heard of."""

CALL = Call(tenant="acme", tool="create_ticket", run_id="run_1", tool_call_id="call_1")
FIRST = Event(1, "claimed", OLD)
DIGEST, OTHER_DIGEST = "d-stands", "d-other"


def in_flight(*, resent: bool = False) -> InFlight:
    """Return a record that was claimed twice and is in flight."""
    return InFlight(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), resent=resent,
    )  # fmt: skip


def unknown(
    *, listening: bool = False, why: str = "lost", resent: bool = False, probing: Probing | None = None
) -> Unknown:
    """Return a record of unknown outcome."""
    return Unknown(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), since_ms=5, why=why, listening=listening,
        resent=resent, probing=probing,
    )  # fmt: skip


def completed(source: Literal["reply", "probe", "ruling"] = "reply", *, resent: bool = False) -> Completed:
    """Return a record whose reply has the digest `DIGEST`."""
    return Completed(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), completed_ms=5, status=200, digest=DIGEST,
        source=source, resent=resent,
    )  # fmt: skip


def free(why: str = "not-sent") -> Free:
    """Return a record that may be claimed again."""
    return Free(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), since_ms=5, why=why,
    )  # fmt: skip


def alias() -> Alias:
    """Return a record that was claimed twice, in vain, and then met its effect with another operation."""
    return Alias(
        operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, created_ms=1, attempt=2, tokens=(OLD, NEW),
        history=(FIRST,), of="op_0", since_ms=5,
    )  # fmt: skip


RULED = Event(3, "ruled", "", "not executed, says ann: looked it up")
SECOND = Event(4, "claimed", NEW)
PROBING = Probing(1, 2_000, 5_000)
HOLD, PLAN = EffectHold("e1", 90_000), ProbePlan("/tickets?external_ref=op_1", 2_000)

RECORDS: dict[str, Record] = {
    "in flight": in_flight(),
    "in flight, resent": in_flight(resent=True),
    "unknown": unknown(),
    "unknown, listening": unknown(listening=True, why="timeout"),
    "unknown, probing": unknown(probing=PROBING),
    "unknown, resent": unknown(resent=True),
    "unknown, resent, listening": unknown(resent=True, listening=True),
    "unknown, a ruling before": replace(unknown(), history=(FIRST, RULED, SECOND)),
    "completed": completed(),
    "completed, resent": completed(resent=True),
    "completed by a probe": completed("probe"),
    "completed by a ruling": completed("ruling"),
    "free": free(),
    "free by a ruling": free("ruling"),
    "alias": alias(),
    "alias, a ruling before": replace(alias(), history=(FIRST, SECOND, RULED)),
}
"""Every state that a record can be in, absent aside, with what else makes a difference."""


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

FINDINGS: dict[str, Asking | Probed | Ruled] = {
    "asking": Asking(asked=1, waited_ms=7_000, lease_ms=3_000),
    "asking, overtaken": Asking(asked=0, waited_ms=0, lease_ms=3_000),
    "applied": Probed(applied=True, free=False, next_ms=None, detail="found", status=200, digest="d-probe"),
    "not applied": Probed(applied=False, free=True, next_ms=None, detail="none after 120 s"),
    "to be asked again": Probed(applied=False, free=False, next_ms=5_000, detail="none yet"),
    "the last probe": Probed(applied=False, free=False, next_ms=None, detail="none yet"),
    "about an earlier attempt": Probed(applied=False, free=True, next_ms=None, detail="none", token=OLD),
    "ruled executed": Ruled(executed=True, by="ann", reason="seen it", status=201, digest="d-ruled"),
    "ruled not executed": Ruled(executed=False, by="ann", reason="looked it up"),
}
"""What somebody can find out."""


def claimed(over: Free | Alias | None, token: str, now_ms: int = 100) -> InFlight:
    """Return the claim of `token`."""
    return claim(over, operation=OPERATION, fingerprint=FINGERPRINT, call=CALL, token=token, now_ms=now_ms)
