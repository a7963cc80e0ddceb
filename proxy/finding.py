"""What a tool's answer to a probe says about a call: it happened, it is not there, or nothing that one may build on.

Only an answer that is certainly about *this* call counts as *applied*: the template asked for its operation id, or the
answer names that id, or says that the thing was made after the claim. An older identical thing is not ours, and says
nothing about ours either.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from ledger import result
from ledger.records import Unknown
from ledger.result import Result
from policies.model import Probe, Selector
from policies.selector import MISSING, find, holds, text_of
from proxy.forward import Lost, NotSent, Outcome, Replied

ANSWER_BYTES_MAX = 64 * 1024
"""Of an answer to a probe: a lookup by id, not a listing."""

JSON = ((b"Content-Type", b"application/json"),)


class Applied(Struct, frozen=True):
    """It happened; `result` is what callers are given, `digest` tells it from other replies."""

    result: Result
    digest: str
    audit_id: str


class NotApplied(Struct, frozen=True):
    """The tool answered, and has nothing of the kind: not yet, or never."""

    detail: str


class NoAnswer(Struct, frozen=True):
    """Nothing that can be built on."""

    detail: str


Finding = Applied | NotApplied | NoAnswer


def judge(outcome: Outcome, probe: Probe, record: Unknown, audit_id: Selector | None = None) -> Finding:
    """Say what `outcome`, the end of a probe's GET, means for `record`."""
    match outcome:
        case NotSent():
            return NoAnswer(f"{outcome.phase}: {outcome.why}")
        case Lost():
            return NoAnswer(outcome.why)
        case Replied(stream=None) if outcome.framing != "close":
            return _replied(outcome, probe, record, audit_id)
        case _:
            return NoAnswer(
                f"its answer is larger than {ANSWER_BYTES_MAX} bytes, or has no end that can be told from a cut"
            )


def _replied(reply: Replied, probe: Probe, record: Unknown, audit_id: Selector | None) -> Finding:
    if reply.status == 404:
        return NotApplied("the tool answered 404")
    if not 200 <= reply.status < 300:
        return NoAnswer(f"the tool answered {reply.status}")
    try:
        document = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, RecursionError):
        return NoAnswer("its answer is no JSON")
    if not holds(probe.applied, document):
        return NotApplied("the tool has nothing of the kind")
    if probe.matches is not None and text_of(find(probe.matches.argument, document)) != record.operation:
        return NoAnswer("what the tool has names another operation")
    if probe.created is not None:
        made = _moment(find(probe.created.argument, document))
        if made is None:
            return NoAnswer(f"no time can be read at {probe.created}")
        if _before(made, record.created_ms):
            return NoAnswer("what the tool has was made before this call was claimed: it is another's")
    return _applied(document, probe, audit_id)


def _applied(document: Any, probe: Probe, audit_id: Selector | None) -> Finding:
    shown = document if probe.result is None else find(probe.result.argument, document)
    if shown is MISSING:
        return NoAnswer(f"there is nothing at {probe.result} to answer callers with")
    body = msgspec.json.encode(shown)
    named = "" if audit_id is None or audit_id.kind != "body" else text_of(find(audit_id.argument, shown)) or ""
    return Applied(Result(probe.status, b"", JSON, body), result.digest(probe.status, JSON, body), named)


def _moment(value: Any) -> float | None:
    """Return a time in seconds since 1970: a number of them, or RFC 3339 with its offset."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            return None
        return None if read.tzinfo is None else read.astimezone(UTC).timestamp()
    return None


def _before(made_s: float, claimed_ms: int) -> bool:
    """Say whether something was made before the claim. Many tools write whole seconds, cut off: such a time stands for
    the whole of its second."""
    whole = made_s == int(made_s)
    return made_s < (claimed_ms // 1_000 if whole else claimed_ms / 1_000)
