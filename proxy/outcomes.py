"""From how a forward ended to what the ledger is told: the event, and the result that is kept for replays."""

from __future__ import annotations

from typing import Any, assert_never

import msgspec
from msgspec import Struct

from ledger import result
from ledger.events import Lost as LostEvent
from ledger.events import NotSent as NotSentEvent
from ledger.events import Replied as RepliedEvent
from ledger.events import TimedOut
from ledger.records import Unkept
from ledger.result import Result
from policies.model import ResultRules, Selector, Verdict
from policies.selector import MISSING, find, holds, text_of
from proxy.forward import Headers, Lost, NotSent, Outcome, Replied

FINAL = Verdict.FINAL
AUDIT_ID_MAX = 200
"""Characters of a tool's own id that are kept: they come from the tool, and stand in every record and log line."""


class Told(Struct, frozen=True, gc=False):
    """An event for `ledger.transitions.apply`, with the result that goes with it (None if none is kept)."""

    event: RepliedEvent | NotSentEvent | LostEvent | TimedOut
    result: Result | None = None


STILL_RUNNING = (409, 425, 429)
"""What a tool that honours a key answers while it is at work on what came under the same key before, or not now."""


def told(outcome: Outcome, token: str, rules: ResultRules, *, late: bool, again: bool = False) -> Told:
    """Translate `outcome` for the claim of `token`. `late`: the first caller has gone. `again`: what was sent before
    under the same key may have run, so only a final reply says anything."""
    match outcome:
        case NotSent():
            return Told(NotSentEvent(token, f"{outcome.phase}: {outcome.why}", outcome.timed_out))
        case Lost():
            return Told(LostEvent(token, outcome.why))
        case Replied():
            return _replied(outcome, token, rules, late=late, again=again)
        case _ as never:
            assert_never(never)


def verdict(status: int, rules: ResultRules, *, again: bool) -> Verdict:
    """Say what a reply's status means; see `told`."""
    meant = rules.verdict(status)
    return Verdict.NEITHER if again and (meant is not FINAL or status in STILL_RUNNING) else meant


def _replied(reply: Replied, token: str, rules: ResultRules, *, late: bool, again: bool) -> Told:
    unkept = _unkept(reply, rules)
    kept = None
    if not unkept:
        kept = Result(reply.status, reply.reason, result.storable(reply.headers), reply.body)
    meant = verdict(reply.status, rules, again=again)
    final = meant is FINAL
    audit_id = rules.audit_id
    looks = final and reply.stream is None and (rules.failed_if or (audit_id is not None and audit_id.kind == "body"))
    document = _document(reply.body) if looks else MISSING
    event = RepliedEvent(
        token,
        meant,
        reply.status,
        result.digest(reply.status, reply.headers, reply.body),
        unkept=unkept,
        late=late,
        failed=document is not MISSING and any(holds(predicate, document) for predicate in rules.failed_if),
        audit_id="" if audit_id is None or not final else _audit_id(reply.headers, document, audit_id),
        head=result.head_of(reply.headers, _length(reply)) if final else (),
    )
    return Told(event, kept)


def _unkept(reply: Replied, rules: ResultRules) -> Unkept:
    """Say why a reply cannot be replayed, or nothing if it can. Without a length or chunks a cut looks like an end."""
    if reply.stream is not None:
        streamed = any(
            name.lower() == b"content-type" and b"event-stream" in value.lower() for name, value in reply.headers
        )
        return "streamed" if streamed else "too-large"
    if reply.framing == "close" and not rules.close_delimited_is_whole:
        return "close-delimited"
    return ""


def _document(body: bytes) -> Any:
    """Return a reply's JSON, `MISSING` if it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return MISSING


def _audit_id(headers: Headers, document: Any, selector: Selector) -> str:
    """Return what the tool calls what it did, empty if it does not say so where the policy has one look."""
    if selector.kind == "body":
        found = "" if document is MISSING else text_of(find(selector.argument, document)) or ""
    else:
        wanted = selector.argument.lower().encode()
        found = next((value.decode("latin-1") for name, value in headers if name.lower() == wanted), "")
    return found[:AUDIT_ID_MAX]


def _length(reply: Replied) -> int | None:
    """Return how long the reply's body is, as far as that is known; of one that is passed on, what was announced."""
    if reply.stream is None:
        return len(reply.body)
    announced = next((value for name, value in reply.headers if name.lower() == b"content-length"), b"")
    return int(announced) if announced.isdigit() else None
