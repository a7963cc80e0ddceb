"""From how a forward ended to what the ledger is told: the event, and the result that is kept for replays."""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec import Struct

from ledger import result
from ledger.events import Lost as LostEvent
from ledger.events import NotSent as NotSentEvent
from ledger.events import Replied as RepliedEvent
from ledger.events import TimedOut
from ledger.records import Unkept
from ledger.result import Result
from policies.model import ResultRules
from policies.selector import holds
from proxy.forward import Lost, NotSent, Outcome, Replied


class Told(Struct, frozen=True):
    """An event for `ledger.transitions.apply`, with the result that goes with it (None if none is kept)."""

    event: RepliedEvent | NotSentEvent | LostEvent | TimedOut
    result: Result | None = None


def told(outcome: Outcome, token: str, rules: ResultRules, *, late: bool) -> Told:
    """Translate `outcome` for the claim of `token`. `late`: the first caller has gone."""
    match outcome:
        case NotSent():
            return Told(NotSentEvent(token, f"{outcome.phase}: {outcome.why}", outcome.timed_out))
        case Lost():
            return Told(LostEvent(token, outcome.why))
        case Replied():
            return _replied(outcome, token, rules, late=late)
        case _ as never:
            assert_never(never)


def _replied(reply: Replied, token: str, rules: ResultRules, *, late: bool) -> Told:
    unkept = _unkept(reply, rules)
    kept = None
    if not unkept:
        kept = Result(reply.status, reply.reason, result.storable(reply.headers), reply.body)
    event = RepliedEvent(
        token,
        rules.verdict(reply.status),
        reply.status,
        result.digest(reply.status, reply.headers, reply.body),
        unkept=unkept,
        late=late,
        failed=not unkept and bool(rules.failed_if) and _failed(reply.body, rules),
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


def _failed(body: bytes, rules: ResultRules) -> bool:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return any(holds(predicate, document) for predicate in rules.failed_if)
