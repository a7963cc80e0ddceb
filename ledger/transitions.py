"""Every change of a record's state, as one table: this file owns the states (design 2.2).

A record is absent, in flight, unknown, completed (without its result: a tombstone), free or an alias.

| event                                   | in                  | becomes                                           |
|-----------------------------------------|---------------------|---------------------------------------------------|
| arrival, other fingerprint or principal | any but absent      | unchanged: refused `key-reused` before all else   |
| arrival                                 | absent, free        | in flight, by a new token: forwarded              |
| arrival, its effect key another's, policy `replay` or `refuse` | absent, free | alias of that operation           |
| arrival                                 | alias               | unchanged: what the policy says of that one |
| arrival, the operation it names free, absent, failed | alias | in flight, by a new token: forwarded; or an alias |
| arrival                                 | in flight           | unchanged: joins                                  |
| arrival                                 | unknown, listening or to be probed | unchanged: joins                   |
| arrival, the tool honours our key and its window is open | unknown | in flight, one more token: resent            |
| arrival                                 | unknown             | unchanged: refused `outcome-unknown`              |
| arrival                                 | completed           | unchanged: replayed                               |
| arrival                                 | completed, tombstone | unchanged: refused `result-unavailable`          |
| replied, final                          | in flight           | completed                                         |
| replied, not final                      | in flight           | free; unknown, if it was a resend                 |
| replied, neither                        | in flight           | unknown                                           |
| not sent, retries used up; withdrawn    | in flight           | free; unknown, if it was a resend                 |
| lost                                    | in flight           | unknown                                           |
| timed out (`timeouts.upstream` over)    | in flight           | unknown, the process listening on                 |
| lapsed                                  | in flight           | unknown                                           |
| lapsed                                  | unknown, listening  | unknown, nobody listening                         |
| resumed (its process stood still for longer than its lease) | unknown | unknown, the process listening on          |
| a probe begins                          | unknown, to be probed | unchanged, leased to who asks                   |
| probed: applied                         | unknown             | completed, from the probe's answer                |
| probed: not applied, trusted, its time over | unknown         | free                                              |
| probed: anything else                   | unknown             | unknown, to be probed again or no more            |
| ruling: executed, not executed          | unknown             | completed, free                                   |
| late final reply, by a token of the record | unknown; free or alias, if not claimed or ruled since | completed, late |
| final reply, by an older token          | in flight, resent   | completed, late                                   |
| late not-final or not-sent, by the newest attempt | unknown   | free, as that did not run; unless a resend       |
| late neither, lost, a resend's not final | unknown, listening | unknown, nobody listening                         |
| a reply that says what stands           | completed           | unchanged                                         |
| a reply that contradicts what stands, or after a ruling, or beside a newer claim | any | unchanged but for history |

Nothing returns to absent before `remember` is over, and that is the store's doing (`ledger.writes`). A token that was
used never claims again. Only one attempt of a record can be open at a time, because a claim needs *absent* or *free*:
that is why the newest token's word about itself settles the record, and why an older token's final reply after a newer
claim is a contradiction for people to look at. A resend is the one claim over an *unknown*: with it two attempts of one
call may be open, which only a tool that honours our key can be trusted with, so a resend's word about itself says
nothing about the attempts before it, and only a final reply settles the record.

Values in, values out: the time is an argument, tokens are arguments, and whoever calls carries the result to the store.
"""

from __future__ import annotations

import functools
from typing import Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from ledger.events import (
    Asking,
    AttemptEnd,
    Happening,
    Lapsed,
    Lost,
    NotSent,
    Probed,
    Replied,
    Resumed,
    Ruled,
    TimedOut,
)
from ledger.records import (
    DETAIL_MAX,
    HISTORY_MAX,
    RULING_MAX,
    TOKENS_MAX,
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
from policies.model import Verdict

FINAL, NOT_FINAL = Verdict.FINAL, Verdict.NOT_FINAL
CLAIMS = ("claimed", "resent")
"""What a claim is called in the history."""

_OPEN, _ENDED = (InFlight, Unknown), (Completed, Free)  # `InFlight | Unknown` is put together anew with each look


class Changed(Struct, frozen=True, gc=False):
    """Swap this in. `conflict`: only the history grew, by something an operator should see."""

    record: Record
    conflict: bool = False


class Unchanged(Struct, frozen=True):
    """Nothing to write: the event is a repetition of what the record says already, or has been overtaken."""


def claim(
    over: Free | Alias | None, *, operation: str, fingerprint: str, call: Call, token: str, now_ms: int,
    effect: EffectHold | None = None, plan: ProbePlan | None = None, principal: str = "",
) -> InFlight:  # fmt: skip
    """Return the record that claims a key which is absent, free, or an alias of what is free or absent. Raises
    ValueError for a token that was used before."""
    event = Event(now_ms, "claimed", token)
    if over is None:
        return InFlight(
            operation=operation, fingerprint=fingerprint, call=call, created_ms=now_ms, attempt=1, tokens=(token,),
            history=(event,), effect=effect, plan=plan, principal=principal,
        )  # fmt: skip
    if token in over.tokens:
        raise ValueError(f"token {token} has claimed {operation} before")
    return InFlight(
        operation=operation, fingerprint=fingerprint, call=call, created_ms=over.created_ms, attempt=over.attempt + 1,
        tokens=(*over.tokens[-TOKENS_MAX + 1 :], token), history=_grown(over.history, event), effect=effect, plan=plan,
        principal=principal,
    )  # fmt: skip


def resend(record: Unknown, token: str, now_ms: int) -> InFlight:
    """Return the record that claims an unknown once more, for a tool that honours our key. Raises ValueError for a
    token that was used before."""
    if token in record.tokens:
        raise ValueError(f"token {token} has claimed {record.operation} before")
    return InFlight(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt + 1, tokens=(*record.tokens[-TOKENS_MAX + 1 :], token),
        history=_grown(record.history, Event(now_ms, "resent", token)), effect=record.effect, plan=record.plan,
        principal=record.principal, resent=True,
    )  # fmt: skip


def alias(
    over: Free | Alias | None, of: str, *, operation: str, fingerprint: str, call: Call, now_ms: int,
    principal: str = "",
) -> Alias:  # fmt: skip
    """Return the record that says that operation `of` has this one's effect, over nothing, what is free, or an alias of
    an operation that holds nothing any more."""
    event = Event(now_ms, "aliased", "", of)
    if over is None:
        return Alias(
            operation=operation, fingerprint=fingerprint, call=call, created_ms=now_ms, attempt=0, tokens=(),
            history=(event,), principal=principal, of=of, since_ms=now_ms,
        )  # fmt: skip
    return Alias(
        operation=operation, fingerprint=fingerprint, call=call, created_ms=over.created_ms, attempt=over.attempt,
        tokens=over.tokens, history=_grown(over.history, event), principal=principal, of=of, since_ms=now_ms,
    )  # fmt: skip


def apply(record: Record, event: Happening, now_ms: int, notes: tuple[Event, ...] = ()) -> Changed | Unchanged:
    """Return what `event` makes of `record`: the table above, row by row. `notes` go into the history of what changes,
    before the event's own line: joins, and callers that have gone."""
    if notes and isinstance(apply(record, event, now_ms), Changed):
        return apply(replace(record, history=functools.reduce(_grown, notes, record.history)), event, now_ms)
    match event:
        case Replied() | NotSent() | Lost() | TimedOut():
            return _ended(record, event, now_ms)
        case Lapsed():
            return _lapse(record, now_ms)
        case Resumed():
            return _resume(record, event, now_ms)
        case _:
            return _found_out(record, event, now_ms) if isinstance(record, Unknown) else Unchanged()


def _ended(record: Record, event: AttemptEnd, now_ms: int) -> Changed | Unchanged:
    if event.token not in record.tokens or _ruled(record, event.token):
        return _conflict(record, event, now_ms)
    newest = event.token == record.token
    match record:
        case InFlight() if newest:
            return _settle(record, event, now_ms, late=False)
        case Unknown() if newest:
            return _late_truth(record, event, now_ms)
        case Unknown() | InFlight(resent=True) if _is_final(event):
            # An older attempt ends an unknown, and what is sent again to a tool that honours our key.
            return _settle(record, event, now_ms, late=True)
        case Free() | Alias() if newest:
            return _settle(record, event, now_ms, late=True) if _is_final(event) else Unchanged()
        case Completed() if (newest or record.resent) and _agrees(record, event):
            return Unchanged()
        case _:
            return _conflict(record, event, now_ms)


def _agrees(record: Completed, event: AttemptEnd) -> bool:
    """Whether a reply says what stands. What a probe brought has another form, so there only the success counts."""
    if not isinstance(event, Replied) or event.digest == record.digest:
        return True
    return record.source == "probe" and (not event.failed and event.status < 400) == record.succeeded


def _ruled(record: Record, token: str) -> bool:
    """Whether a person has decided what became of the call since the attempt of `token` began."""
    if isinstance(record, _ENDED) and record.by_ruling:
        return True
    for told in reversed(record.history):
        if told.what == "ruled" or (told.what in CLAIMS and told.token == token):
            return told.what == "ruled"
    return False


def _is_final(event: Happening) -> bool:
    return isinstance(event, Replied) and event.verdict is FINAL


def _lapse(record: Record, now_ms: int) -> Changed | Unchanged:
    match record:
        case InFlight():
            return Changed(_unknown(record, "lease-lapsed", "", now_ms, Event(now_ms, "lapsed", record.token)))
        case Unknown(listening=True):
            history = _grown(record.history, Event(now_ms, "lapsed", record.token))
            return Changed(replace(record, listening=False, history=history))
        case _:
            return Unchanged()


def _resume(record: Record, event: Resumed, now_ms: int) -> Changed | Unchanged:
    if not isinstance(record, Unknown) or record.listening or event.token != record.token:
        return Unchanged()
    history = _grown(record.history, Event(now_ms, "resumed", event.token))
    return Changed(replace(record, listening=True, history=history))


def _late_truth(record: Unknown, event: AttemptEnd, now_ms: int) -> Changed | Unchanged:
    match event:
        case TimedOut():
            listening = True
        case Replied() if event.verdict is FINAL or (event.verdict is NOT_FINAL and not record.resent):
            return _settle(record, event, now_ms, late=True)
        case NotSent() if not record.resent:
            return _settle(record, event, now_ms, late=True)
        case _:
            listening = False
    if record.listening == listening:
        return Unchanged()
    return Changed(replace(record, listening=listening, history=_grown(record.history, _line(event, now_ms))))


def _found_out(record: Unknown, event: Asking | Probed | Ruled, now_ms: int) -> Changed | Unchanged:
    """Return what somebody's finding out makes of an unknown."""
    match event:
        case Asking():
            probing = record.probing
            if probing is None or probing.asked != event.asked:
                return Unchanged()  # somebody else asks
            return Changed(replace(record, probing=Probing(event.asked + 1, event.waited_ms, event.lease_ms)))
        case Probed():
            if not event.applied and (record.probing is None or event.token not in ("", record.token)):
                return Unchanged()  # it asked about an earlier attempt, or another probe was the last
            what = "applied" if event.applied else "not-applied" if event.free else "asked"
            return Changed(_probed(record, event, now_ms, Event(now_ms, what, "", event.detail[:DETAIL_MAX])))
        case Ruled():
            word = "executed" if event.executed else "not executed"
            line = Event(now_ms, "ruled", "", f"{word}, says {event.by}: {event.reason}"[:RULING_MAX])
            if not event.executed:
                return Changed(_free(record, "ruling", event.reason[:RULING_MAX], now_ms, line))
            return Changed(_told_by(record, event, now_ms, line, "ruling"))
        case _ as never:
            assert_never(never)


def _probed(record: Unknown, event: Probed, now_ms: int, line: Event) -> Record:
    if event.applied:
        return _told_by(record, event, now_ms, line, "probe")
    if event.free:
        return _free(record, "probe", event.detail[:DETAIL_MAX], now_ms, line)
    probing = record.probing
    assert probing is not None
    again = None if event.next_ms is None else Probing(probing.asked, probing.waited_ms, event.next_ms)
    return replace(record, probing=again, history=_grown(record.history, line))


def _told_by(
    record: Unknown, event: Probed | Ruled, now_ms: int, line: Event, source: Literal["probe", "ruling"]
) -> Completed:
    return Completed(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt, tokens=record.tokens, history=_grown(record.history, line), completed_ms=now_ms,
        status=event.status, digest=event.digest, late=True, effect=record.effect, plan=record.plan,
        principal=record.principal, source=source, head=event.head, resent=record.resent,
        audit_id=event.audit_id if isinstance(event, Probed) else "", unkept="" if event.digest else "never-known",
    )  # fmt: skip


def _settle(record: Record, event: AttemptEnd, now_ms: int, *, late: bool) -> Changed:
    """Return the state that the newest attempt's end leads to."""
    line = _line(event, now_ms)
    match event:
        case Replied() if event.verdict is FINAL:
            return Changed(_completed(record, event, now_ms, line, late=late or event.late))
        case Replied() if event.verdict is NOT_FINAL and not _resent(record):
            return Changed(_free(record, "not-final", "", now_ms, line, status=event.status))
        case Replied():
            return Changed(
                _unknown(record, "status", f"the tool answered {event.status}", now_ms, line, status=event.status)
            )
        case NotSent() if _resent(record):
            return Changed(_unknown(record, "resend", line.detail, now_ms, line))
        case NotSent():
            why = "withdrawn" if event.withdrawn else "not-sent"
            return Changed(_free(record, why, line.detail, now_ms, line, timed_out=event.timed_out))
        case Lost():
            return Changed(_unknown(record, event.why, line.detail, now_ms, line))
        case TimedOut():
            return Changed(_unknown(record, "timeout", "", now_ms, line, listening=True))
        case _ as never:
            assert_never(never)


def _resent(record: Record) -> bool:
    """Whether an attempt before the newest may have run: then the newest one's word about itself frees nothing."""
    return isinstance(record, _OPEN) and record.resent


def _completed(record: Record, event: Replied, now_ms: int, line: Event, *, late: bool) -> Completed:
    resent = _resent(record)
    # Beyond fifteen keyword arguments Python passes them in a dictionary, at three times the cost.
    completed = Completed(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt, tokens=record.tokens, history=_grown(record.history, line), completed_ms=now_ms,
        status=event.status, digest=event.digest, effect=record.effect, plan=record.plan, principal=record.principal,
        audit_id=event.audit_id, head=event.head,
    )  # fmt: skip
    if late or resent or event.failed or event.unkept:
        return replace(completed, late=late, failed=event.failed, unkept=event.unkept, resent=resent)
    return completed


def _free(
    record: Record, why: str, detail: str, now_ms: int, line: Event, *, status: int = 0, timed_out: bool = False
) -> Free:
    return Free(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt, tokens=record.tokens, history=_grown(record.history, line), since_ms=now_ms,
        why=why, detail=detail, status=status, timed_out=timed_out, effect=record.effect, plan=record.plan,
        principal=record.principal,
    )  # fmt: skip


def _unknown(
    record: Record, why: str, detail: str, now_ms: int, line: Event, *, status: int = 0, listening: bool = False
) -> Unknown:
    return Unknown(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt, tokens=record.tokens, history=_grown(record.history, line), since_ms=now_ms,
        why=why, detail=detail, status=status, listening=listening, effect=record.effect, plan=record.plan,
        principal=record.principal, probing=_probing(record), resent=_resent(record),
    )  # fmt: skip


def _probing(record: Record) -> Probing | None:
    """Return how a record that becomes unknown is to be probed; one that was unknown goes on as it was."""
    if isinstance(record, Unknown):
        return record.probing
    return None if record.plan is None else Probing(0, 0, record.plan.after_ms)


def _conflict(record: Record, event: AttemptEnd, now_ms: int) -> Changed | Unchanged:
    if not _is_final(event):
        return Unchanged()
    line = replace(_line(event, now_ms), what="conflict")
    if any(told.what == "conflict" and told.token == event.token for told in record.history):
        return Unchanged()  # an attempt ends once: this has been written down, and the answer to that was lost
    return Changed(replace(record, history=_grown(record.history, line)), conflict=True)


def _line(event: AttemptEnd, now_ms: int) -> Event:
    """Return the history's line for an attempt's end."""
    match event:
        case Replied():
            verdict = "final" if event.verdict is FINAL else event.verdict.value
            named = f", audit id {event.audit_id}" if event.audit_id else ""
            return Event(now_ms, "replied", event.token, f"{event.status} {verdict}{named}"[:DETAIL_MAX])
        case NotSent():
            what = "withdrawn" if event.withdrawn else "not-sent"
            return Event(now_ms, what, event.token, event.detail[:DETAIL_MAX])
        case Lost():
            return Event(now_ms, event.why, event.token, event.detail[:DETAIL_MAX])
        case TimedOut():
            return Event(now_ms, "timed-out", event.token)
        case _ as never:
            assert_never(never)


def _grown(history: tuple[Event, ...], event: Event) -> tuple[Event, ...]:
    if len(history) < HISTORY_MAX:
        return (*history, event)
    return (history[0], *history[2:], event)
