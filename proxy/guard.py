"""The guard: what every keyed call gets, from the first arrival to the last duplicate.

For each operation there is one place in this process where its callers meet (`proxy.execution`). The first arrival
opens it and is answered with what the tool said; everybody else waits there, and is answered from the record (design
2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ledger.records import Alias, Completed, Free, InFlight, Unknown
from ledger.result import Result
from proxy import answer
from proxy.account import can_end
from proxy.answer import Answer, Outcome
from proxy.arrival import Arrival
from proxy.claim import AT_FIRST
from proxy.effects import Effects, Other
from proxy.execution import Execution
from proxy.forward import Lost, NotSent, Replied
from proxy.joint import Joint
from proxy.problems import Kind
from proxy.resends import may_by
from proxy.waiting import Patience, Room, patience_of
from proxy.works import Works

LOOKS_MAX = 16
"""Times a caller looks anew because what it waited for had gone; more means that the key changes hands all the time."""

Look = Callable[[], Answer | Coroutine[Any, Any, Answer]]
"""Returns the answer to a call that was begun, or what will be one."""


class Guard:
    """Decides nothing by itself: it brings arrivals, executions and records together."""

    def __init__(self, works: Works) -> None:
        self._works = works
        self.room = Room()
        self._effects = Effects(works, self.room)

    def at_once(self, tool: str, operation: str, fingerprint: str) -> Answer | None:
        """Answer a repetition from what is kept near; None if that is not all it takes."""
        works = self._works
        kept = None if operation in works.joints else works.replays.get(operation)
        if kept is None or kept.record.fingerprint != fingerprint:
            return None
        record = kept.record
        given = answer.of_result(kept.result, operation, "replayed", late=record.late)
        given.audit_id = record.audit_id
        given.how = "replayed"
        works.metrics.duplicates_prevented.add(tool, "replayed")
        return given

    def begin(self, arrival: Arrival, tell: Callable[[Look], None]) -> bool:
        """Begin a call that nobody here is at, for a caller that waits as long as it takes; say whether that is so.

        `tell` is called when there is something to look at: until then the caller costs no task of its own.
        """
        works, operation = self._works, arrival.ref.operation
        if (
            arrival.patience_ms is not None
            or arrival.deferrable
            or operation in works.joints
            or works.replays.get(operation) is not None
            or self._closed(arrival) is not None
        ):
            return False
        execution = Execution(works, arrival)
        came = execution.loop.time()
        execution.waiters.append(
            partial(execution.loop.call_soon, tell, partial(self._begun, arrival, execution, came))
        )
        return True

    def _begun(self, arrival: Arrival, execution: Execution, came: float) -> Answer | Coroutine[Any, Any, Answer]:
        """Something has changed. As a rule it is the end: the tool has answered. (`execution` may have let go of the
        request by now, which is what would be sent if the key is to be had after all.)"""
        if execution.ended and execution.owned:
            return self._to_first(arrival, execution)
        return self.call(arrival, execution, came)

    async def call(self, arrival: Arrival, begun: Execution | None = None, came: float = 0.0) -> Answer:
        """Answer one keyed call: forwarded at most once, however often it is asked. `begun` is its execution if it has
        one, and `came` the moment of the loop's clock at which it began."""
        works = self._works
        operation = arrival.ref.operation
        patience = patience_of(arrival, came) if begun is not None else None  # most replays need none
        course = AT_FIRST
        looks = 0
        while looks < LOOKS_MAX:
            looks += 1
            if begun is not None and patience is not None:
                mine, begun = begun, None
                found = await self._first(arrival, mine, patience)
            elif (execution := works.joints.get(operation)) is not None:
                patience = patience or _patience(arrival)
                found = await self._join(arrival, execution, patience)
            elif (kept := works.replays.get(operation)) is not None:
                if kept.record.fingerprint != arrival.fingerprint:
                    return self._key_reused(arrival, kept.record.fingerprint)
                return self._from_completed(arrival, kept.record, kept.result, joined=False)
            elif (refused := self._closed(arrival)) is not None:
                return refused
            else:
                patience = patience or _patience(arrival)
                found = await self._first(arrival, Execution(works, arrival, course), patience)
            if isinstance(found, Other):
                followed = await self._effects.follow(arrival, found, patience)
                if isinstance(followed, Answer):
                    return followed
                course = followed
                if asyncio.get_running_loop().time() < patience.joiner:
                    looks = 0  # many may have had the effect one after the other, each until it ended
            elif found is not None:
                return found
        return answer.refusal(Kind.IN_FLIGHT, "the key keeps changing hands", operation, state="in-flight")

    def _closed(self, arrival: Arrival) -> Answer | None:
        """Refuse a call while none may begin; None if it may."""
        works, policy = self._works, arrival.policy
        if works.stopping:
            why = "the proxy is stopping; ask another"
            return answer.refusal(Kind.OVERLOADED, why, arrival.ref.operation, close=True)
        if works.in_flight.get(policy.tool, 0) >= policy.limits.in_flight:
            why = f"{policy.limits.in_flight} calls of this tool are in flight here"
            return answer.refusal(Kind.OVERLOADED, why, arrival.ref.operation)
        return None

    # -- the first arrival ---------------------------------------------------------------------------------------

    async def _first(self, arrival: Arrival, execution: Execution, patience: Patience) -> Answer | Other | None:
        loop = execution.loop
        while not execution.ended:
            record = execution.record
            if record is not None and not execution.owned:
                return await self._join(arrival, execution, patience)
            until = patience.first
            if isinstance(record, Unknown) or execution.listening or (execution.again and execution.resending):
                if not execution.resending or loop.time() >= patience.joiner:
                    execution.left = True
                    return _unknown_so_far(arrival.ref.operation, execution)
                until = patience.joiner
            if until is not None and record is None:
                until = max(until, patience.look)
            if until is not None and loop.time() >= until:
                execution.left = True
                # Its own request is with the tool: `refused` would say that it never was.
                return _in_flight(arrival, "unknown")
            await execution.changed(until)
        if not execution.owned:
            return self._from_record(arrival, execution, joined=False)
        return self._to_first(arrival, execution)

    def _to_first(self, arrival: Arrival, execution: Execution) -> Answer:
        """Answer the caller whose request was ours to forward, now that this has ended."""
        given = self._from_forward(arrival, execution)
        given.upstream_s = execution.upstream_s
        if (record := execution.record) is not None:
            given.attempt = record.attempt
            given.audit_id = record.audit_id if isinstance(record, Completed) else ""
        return given

    def _from_forward(self, arrival: Arrival, execution: Execution) -> Answer:
        """Answer the caller whose request went to the tool, with what came back."""
        operation = arrival.ref.operation
        match execution.outcome:
            case Replied() as replied:
                given = answer.of_reply(replied, operation, _outcome_of(execution))
                given.upstream_status = replied.status
                return given
            case NotSent() as outcome if execution.store_down:
                # Nothing was sent now; what became of the key before, only the store could say.
                why = f"{execution.store_down}; and the tool could not be reached: {outcome.why}"
                return answer.refusal(Kind.STORE_UNAVAILABLE, why, operation)
            case NotSent() as outcome:
                return _not_sent(operation, f"{outcome.phase}: {outcome.why}", outcome.timed_out)
            case Lost() as outcome:
                kind = Kind.UNKNOWN_TIMEOUT if _timed_out(execution) else Kind.UNKNOWN_LOST
                ends = can_end(execution.record, self._works.now_ms(), arrival.policy)
                return answer.unknown(kind, outcome.why, operation, can_end=ends)
            case None:
                return answer.unknown(Kind.UNKNOWN_LOST, "the proxy is stopping", operation, can_end=True)

    # -- everybody else ------------------------------------------------------------------------------------------

    async def _join(self, arrival: Arrival, execution: Joint, patience: Patience) -> Answer | Other | None:
        """Wait at `execution` until it ends or patience does. Who was there while the call was in flight has joined it,
        and gets what its first caller gets; who came to an unknown that may yet end is held, and has not."""
        loop = asyncio.get_running_loop()
        if self.room.is_full(execution, arrival.policy):
            return answer.refusal(Kind.OVERLOADED, "too many callers wait for this call", arrival.ref.operation)
        joined = False
        with self.room.at(execution):
            while True:
                record = execution.record
                if not joined and isinstance(record, InFlight):
                    joined = True
                    execution.joined(self._works.now_ms())
                if execution.ended or execution.overtaken:
                    break
                if record is not None and record.fingerprint != arrival.fingerprint:
                    return self._key_reused(arrival, record.fingerprint)
                until = max(patience.joiner, patience.look) if record is None else patience.joiner
                if isinstance(record, Unknown) and (
                    (joined and record.probing is None and not execution.resending) or loop.time() >= until
                ):
                    return self._unknown(arrival, record, joined=joined)
                if loop.time() >= until:
                    return self._prevented(arrival, _in_flight(arrival), "in-flight")
                await execution.changed(until)
        return self._from_record(arrival, execution, joined=joined)

    def _from_record(self, arrival: Arrival, execution: Joint, *, joined: bool) -> Answer | Other | None:
        """Answer from what the ledger knows; None means that the key may be had by now: look again."""
        operation, record, result = arrival.ref.operation, execution.record, execution.result
        if execution.foreign:
            why = "its record cannot be read by this version"
            return answer.unknown(Kind.UNKNOWN, why, operation, can_end=False, state="unreadable")
        if record is None:
            return _from_nothing(operation, execution, forgot=self._works.forgot)
        if record.fingerprint != arrival.fingerprint:
            return self._key_reused(arrival, record.fingerprint)
        match record:
            case Completed():
                return self._from_completed(arrival, record, result, joined=joined)
            case Unknown():
                return self._from_unknown(arrival, record, result, joined=joined)
            case Free(why="not-final") if joined and result is not None:
                return answer.of_result(result, operation, "not-executed")
            case Free(why="not-sent") if joined:
                return _not_sent(operation, record.detail, record.timed_out)
            case InFlight() if execution.store_down and not execution.owned:
                return self._prevented(arrival, _in_flight(arrival), "in-flight")
            case Alias():
                return Other(record.of, alias=record.of != execution.effect_of)
            case Free() | InFlight():
                return None

    def _from_unknown(self, arrival: Arrival, record: Unknown, result: Result | None, *, joined: bool) -> Answer | None:
        if joined and may_by(arrival, record, self._works.now_ms()):
            return None  # it is sent again, by whoever comes first
        if joined and result is not None:
            if arrival.span is not None:
                arrival.span.follows(record)
            return self._prevented(arrival, answer.of_result(result, arrival.ref.operation, "unknown"), "joined")
        if joined and record.probing is not None:
            return None  # it is held, as whoever comes now is
        return self._unknown(arrival, record, joined=joined)

    def _from_completed(self, arrival: Arrival, record: Completed, result: Result | None, *, joined: bool) -> Answer:
        operation = arrival.ref.operation
        if arrival.span is not None:
            arrival.span.follows(record)
        if result is not None:
            how: Outcome = "joined" if joined else "replayed"
            given = answer.of_result(result, operation, how, late=record.late)
            given.audit_id = record.audit_id
            return self._prevented(arrival, given, how)
        return self._prevented(arrival, answer.unavailable(record, operation), "result-unavailable")

    def _unknown(self, arrival: Arrival, record: Unknown, *, joined: bool) -> Answer:
        kind = Kind.UNKNOWN
        if arrival.span is not None:
            arrival.span.follows(record)
        if joined:
            kind = Kind.UNKNOWN_TIMEOUT if record.why == "timeout" else Kind.UNKNOWN_LOST
        detail = f"it may or may not have run: {record.why}{': ' + record.detail if record.detail else ''}"
        ends = can_end(record, self._works.now_ms(), arrival.policy)
        refused = answer.unknown(kind, detail, arrival.ref.operation, can_end=ends)
        return self._prevented(arrival, refused, "unknown")

    def _key_reused(self, arrival: Arrival, stands: str) -> Answer:
        log = self._works.log
        log.event(
            "key.reused", level="warning", operation=arrival.ref.operation, tool=arrival.policy.tool,
            payload_hash=log.keyed(arrival.fingerprint), first_payload_hash=log.keyed(stands),
        )  # fmt: skip
        detail = "the first call with this key had another method, target, body or principal"
        return self._prevented(arrival, answer.refusal(Kind.KEY_REUSED, detail, arrival.ref.operation), "key-reused")

    def _prevented(self, arrival: Arrival, given: Answer, how: str) -> Answer:
        """Count a duplicate that was not forwarded."""
        given.how = how
        self._works.metrics.duplicates_prevented.add(arrival.policy.tool, how)
        return given


def _patience(arrival: Arrival) -> Patience:
    return patience_of(arrival, asyncio.get_running_loop().time())


def _from_nothing(operation: str, joint: Joint, *, forgot: bool) -> Answer | Other | None:
    """Answer where no record stands: nobody could ask the store, or the effect is another's, or the key may be had."""
    if joint.store_down:
        return answer.refusal(Kind.STORE_FORGOT if forgot else Kind.STORE_UNAVAILABLE, joint.store_down, operation)
    return Other(joint.effect_of, alias=False) if joint.effect_of else None


def _in_flight(arrival: Arrival, outcome: Outcome = "refused") -> Answer:
    detail = "the tool is still working on it; ask again with the same key"
    if arrival.deferrable:
        return answer.pending(arrival.ref.operation, detail, "in-flight", preferred=True)
    return answer.refusal(Kind.IN_FLIGHT, detail, arrival.ref.operation, outcome, state="in-flight")


def _unknown_so_far(operation: str, execution: Execution) -> Answer:
    """Answer the first caller whose own request may have run, and may yet be heard of."""
    history = () if execution.record is None else execution.record.history
    timed_out = execution.listening or any(line.what in {"timed-out", "timeout"} for line in history)
    kind = Kind.UNKNOWN_TIMEOUT if timed_out else Kind.UNKNOWN_LOST
    why = "Holdfast goes on listening for it"
    if not execution.listening:
        why = "Holdfast goes on sending it, under the key that the tool honours"
    said = "no answer within the tool's time" if timed_out else "the tool's answer was lost, or settled nothing"
    return answer.unknown(kind, f"{said}; {why}", operation, can_end=True)


def _timed_out(execution: Execution) -> bool:
    return isinstance(execution.record, Unknown) and execution.record.why == "timeout"


def _outcome_of(execution: Execution) -> Outcome:
    if execution.store_down:
        return "unprotected"
    match execution.record:
        case Completed():
            return "executed"
        case Free():
            return "not-executed"
        case Unknown():
            return "unknown"
        case _:
            return "executed"


def _not_sent(operation: str, detail: str, timed_out: bool) -> Answer:
    kind = Kind.NOT_SENT_TIMEOUT if timed_out else Kind.NOT_SENT
    return answer.refusal(kind, detail, operation, "not-executed", state="free")
