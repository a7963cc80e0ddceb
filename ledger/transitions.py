"""Every change of a record's state, as one table: this file owns the states (design 2.2).

A record is absent, in flight, unknown, completed (without its result: a tombstone) or free.

| event                                   | in                  | becomes                                           |
|-----------------------------------------|---------------------|---------------------------------------------------|
| arrival, other fingerprint or principal | any but absent      | unchanged: refused `key-reused` before all else   |
| arrival                                 | absent, free        | in flight, by a new token: forwarded              |
| arrival                                 | in flight           | unchanged: joins                                  |
| arrival                                 | unknown, listening  | unchanged: joins                                  |
| arrival                                 | unknown             | unchanged: refused `outcome-unknown`              |
| arrival                                 | completed           | unchanged: replayed                               |
| arrival                                 | completed, tombstone | unchanged: refused `result-unavailable`          |
| replied, final                          | in flight           | completed                                         |
| replied, not final                      | in flight           | free                                              |
| replied, neither                        | in flight           | unknown                                           |
| not sent, retries used up; withdrawn    | in flight           | free                                              |
| lost                                    | in flight           | unknown                                           |
| timed out (`timeouts.upstream` over)    | in flight           | unknown, the process listening on                 |
| lapsed                                  | in flight           | unknown                                           |
| lapsed                                  | unknown, listening  | unknown, nobody listening                         |
| resumed (its process stood still for longer than its lease) | unknown | unknown, the process listening on          |
| late final reply, by a token of the record | unknown; free, if not claimed since | completed, late                |
| late not-final or not-sent, by the newest token | unknown     | free: that attempt provably did not run           |
| late neither, or lost                   | unknown, listening  | unknown, nobody listening                         |
| a reply that repeats what stands        | completed           | unchanged                                         |
| a reply that contradicts what stands, or comes beside a newer claim | any | unchanged but for history: a conflict |

Nothing returns to absent before `remember` is over, and that is the store's doing (`ledger.writes`). A token that was
used never claims again. Only one attempt of a record can be open at a time, because a claim needs *absent* or *free*:
that is why the newest token's word about itself settles the record, and why an older token's final reply after a newer
claim is a contradiction for people to look at. Probes, resends, rulings and aliases have their rows in design 2.2 and
join this table when they are built.

Values in, values out: the time is an argument, tokens are arguments, and whoever calls carries the result to the store.
"""

from __future__ import annotations

import enum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from ledger.records import (
    DETAIL_MAX,
    HISTORY_MAX,
    TOKENS_MAX,
    Call,
    Completed,
    Event,
    Free,
    InFlight,
    Record,
    Unkept,
    Unknown,
)
from policies.model import Verdict

FINAL, NOT_FINAL, NEITHER = Verdict.FINAL, Verdict.NOT_FINAL, Verdict.NEITHER


class Reason(enum.Enum):
    """Why an arrival is refused without being forwarded."""

    KEY_REUSED = "key-reused"
    OUTCOME_UNKNOWN = "outcome-unknown"
    RESULT_UNAVAILABLE = "result-unavailable"


class ForwardIt(Struct, frozen=True):
    """Claim the key (over `free`, the record that stands there, if one does) and send the request to the tool."""

    free: Free | None


class JoinIt(Struct, frozen=True):
    """Wait for what the record's newest attempt brings."""


class LapseFirst(Struct, frozen=True):
    """The lease is over and nobody has said so yet: apply `Lapsed`, then judge again."""


class ReplayIt(Struct, frozen=True):
    """Answer with the stored result."""

    record: Completed


class RefuseIt(Struct, frozen=True):
    """Answer without forwarding."""

    reason: Reason


Decision = ForwardIt | JoinIt | LapseFirst | ReplayIt | RefuseIt


class Replied(Struct, frozen=True):
    """The tool's reply to the attempt of `token` came in whole (or was passed on unkept). `late`: its first caller had
    gone."""

    token: str
    verdict: Verdict
    status: int
    digest: str
    unkept: Unkept = ""
    late: bool = False
    failed: bool = False


class NotSent(Struct, frozen=True):
    """Provably nothing of the attempt reached the tool. `withdrawn`: it was never handed to the forward."""

    token: str
    detail: str
    timed_out: bool = False
    withdrawn: bool = False


class Lost(Struct, frozen=True):
    """The attempt's end is not known and its connection is gone. `why`: `lost`, `timeout` or `shutdown`."""

    token: str
    detail: str
    why: str = "lost"


class TimedOut(Struct, frozen=True):
    """`timeouts.upstream` is over for the attempt; its process listens on and keeps the lease."""

    token: str


class Lapsed(Struct, frozen=True):
    """The store's clock says that the lease has run out."""


class Resumed(Struct, frozen=True):
    """The attempt's lease had lapsed, but its process is alive and its forward still under way."""

    token: str


Happening = Replied | NotSent | Lost | TimedOut | Lapsed | Resumed


class Changed(Struct, frozen=True):
    """Swap this in. `conflict`: only the history grew, by something an operator should see."""

    record: Record
    conflict: bool = False


class Unchanged(Struct, frozen=True):
    """Nothing to write: the event is a repetition of what the record says already, or has been overtaken."""


def decide(record: Record | None, fingerprint: str, *, has_result: bool, lease_left_ms: int | None) -> Decision:
    """Say what an arriving request gets. `lease_left_ms` and `has_result` are what the store said of the record."""
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
            return JoinIt() if record.listening and leased else RefuseIt(Reason.OUTCOME_UNKNOWN)
        case Completed():
            return ReplayIt(record) if has_result else RefuseIt(Reason.RESULT_UNAVAILABLE)
        case _ as never:
            assert_never(never)


def claim(free: Free | None, *, operation: str, fingerprint: str, call: Call, token: str, now_ms: int) -> InFlight:
    """Return the record that claims a key which is absent or free. Raises ValueError for a token that was used
    before."""
    event = Event(now_ms, "claimed", token)
    if free is None:
        return InFlight(
            operation=operation, fingerprint=fingerprint, call=call, created_ms=now_ms, attempt=1, tokens=(token,),
            history=(event,),
        )  # fmt: skip
    if token in free.tokens:
        raise ValueError(f"token {token} has claimed {operation} before")
    return InFlight(
        operation=operation, fingerprint=fingerprint, call=call, created_ms=free.created_ms, attempt=free.attempt + 1,
        tokens=(*free.tokens[-TOKENS_MAX + 1 :], token), history=_grown(free.history, event),
    )  # fmt: skip


def apply(record: Record, event: Happening, now_ms: int) -> Changed | Unchanged:
    """Return what `event` makes of `record`: the table above, row by row."""
    if isinstance(event, Lapsed):
        return _lapse(record, now_ms)
    if isinstance(event, Resumed):
        return _resume(record, event, now_ms)
    if event.token not in record.tokens:
        return _conflict(record, event, now_ms)
    if event.token != record.token:
        # An older attempt speaks after a newer claim. Its final reply ends an unknown; beside anything else it
        # contradicts.
        if isinstance(record, Unknown) and _is_final(event):
            return _settle(record, event, now_ms, late=True)
        return _conflict(record, event, now_ms)
    match record:
        case InFlight():
            return _settle(record, event, now_ms, late=False)
        case Unknown():
            return _late_truth(record, event, now_ms)
        case Free():
            return _settle(record, event, now_ms, late=True) if _is_final(event) else Unchanged()
        case Completed():
            repeats = not isinstance(event, Replied) or event.digest == record.digest
            return Unchanged() if repeats or not _is_final(event) else _conflict(record, event, now_ms)
        case _ as never:
            assert_never(never)


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


def _late_truth(record: Unknown, event: Replied | NotSent | Lost | TimedOut, now_ms: int) -> Changed | Unchanged:
    match event:
        case Replied() | Lost() if not isinstance(event, Replied) or event.verdict is NEITHER:
            if not record.listening:
                return Unchanged()
            history = _grown(record.history, _line(event, now_ms))
            return Changed(replace(record, listening=False, history=history))
        case TimedOut():
            if record.listening:
                return Unchanged()
            history = _grown(record.history, _line(event, now_ms))
            return Changed(replace(record, listening=True, history=history))
        case _:
            return _settle(record, event, now_ms, late=True)


def _settle(record: Record, event: Replied | NotSent | Lost | TimedOut, now_ms: int, *, late: bool) -> Changed:
    """Return the state that the newest attempt's end leads to."""
    line = _line(event, now_ms)
    match event:
        case Replied() if event.verdict is FINAL:
            return Changed(_completed(record, event, now_ms, line, late=late or event.late))
        case Replied() if event.verdict is NOT_FINAL:
            return Changed(_free(record, "not-final", "", now_ms, line, status=event.status))
        case Replied():
            return Changed(
                _unknown(record, "status", f"the tool answered {event.status}", now_ms, line, status=event.status)
            )
        case NotSent():
            why = "withdrawn" if event.withdrawn else "not-sent"
            return Changed(_free(record, why, line.detail, now_ms, line, timed_out=event.timed_out))
        case Lost():
            return Changed(_unknown(record, event.why, line.detail, now_ms, line))
        case TimedOut():
            return Changed(_unknown(record, "timeout", "", now_ms, line, listening=True))
        case _ as never:
            assert_never(never)


def _completed(record: Record, event: Replied, now_ms: int, line: Event, *, late: bool) -> Completed:
    return Completed(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt, tokens=record.tokens, history=_grown(record.history, line), completed_ms=now_ms,
        status=event.status, digest=event.digest, late=late, failed=event.failed, unkept=event.unkept,
    )  # fmt: skip


def _free(
    record: Record, why: str, detail: str, now_ms: int, line: Event, *, status: int = 0, timed_out: bool = False
) -> Free:
    return Free(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt, tokens=record.tokens, history=_grown(record.history, line), since_ms=now_ms,
        why=why, detail=detail, status=status, timed_out=timed_out,
    )  # fmt: skip


def _unknown(
    record: Record, why: str, detail: str, now_ms: int, line: Event, *, status: int = 0, listening: bool = False
) -> Unknown:
    return Unknown(
        operation=record.operation, fingerprint=record.fingerprint, call=record.call, created_ms=record.created_ms,
        attempt=record.attempt, tokens=record.tokens, history=_grown(record.history, line), since_ms=now_ms,
        why=why, detail=detail, status=status, listening=listening,
    )  # fmt: skip


def _conflict(record: Record, event: Replied | NotSent | Lost | TimedOut, now_ms: int) -> Changed | Unchanged:
    if not _is_final(event):
        return Unchanged()
    line = replace(_line(event, now_ms), what="conflict")
    if any(told.what == "conflict" and told.token == event.token for told in record.history):
        return Unchanged()  # an attempt ends once: this has been written down, and the answer to that was lost
    return Changed(replace(record, history=_grown(record.history, line)), conflict=True)


def _line(event: Replied | NotSent | Lost | TimedOut, now_ms: int) -> Event:
    """Return the history's line for an attempt's end."""
    match event:
        case Replied():
            return Event(
                now_ms,
                "replied",
                event.token,
                f"{event.status} {'final' if event.verdict is FINAL else event.verdict.value}",
            )
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
