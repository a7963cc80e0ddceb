"""Another operation has this call's effect: waiting at its record, and answering from it by the policy's word.

| what is known of the other operation     | `hold`              | `replay`, and an alias   | `refuse`           |
|------------------------------------------|---------------------|--------------------------|--------------------|
| in flight                                | waited for          | waited for               | `effect-duplicate` |
| unknown, and something may yet end it    | waited for          | waited for               | `effect-duplicate` |
| unknown                                  | waited for          | `outcome-unknown`        | `effect-duplicate` |
| completed, a success                     | our own claim       | its result               | `effect-duplicate` |
| completed, a failure; free; absent       | our own claim       | our own claim            | our own claim      |

Patience that ends gets 409 `in-flight` or `outcome-unknown`, naming the other operation. `observe` never comes here: it
is counted and claims without an effect. Who finds its own alias has been answered by the other operation before, and is
so again, whatever the window, and under `observe` and `hold` too; only `refuse` refuses it.

All that wait in this process for one operation do so at its joint, like those who ask for its key. Of those that go on
to claim, the store lets one have the effect; the others find that one's hold.
"""

from __future__ import annotations

import asyncio
from typing import assert_never

from msgspec import Struct

from ledger.key import Ref
from ledger.records import Alias, Completed, Free, InFlight, Record, Unknown
from ledger.result import Result
from proxy import answer
from proxy.account import can_end
from proxy.answer import Answer, Outcome
from proxy.arrival import Arrival
from proxy.claim import Course
from proxy.identity import principal_digest
from proxy.joint import Joint
from proxy.problems import Kind
from proxy.waiting import Patience, Room
from proxy.watch import POLL_S, Watch
from proxy.works import Works


class Other(Struct, frozen=True):
    """The effect is `operation`'s. `alias`: our own record says so, and has said so to whoever asked before."""

    operation: str
    alias: bool


class Effects:
    """One process's dealings with calls whose effect is another's."""

    def __init__(self, works: Works, room: Room) -> None:
        self._works = works
        self._room = room

    async def follow(self, arrival: Arrival, other: Other, patience: Patience) -> Answer | Course:
        """Answer from what the other operation comes to, or say how to go on to a claim of one's own."""
        works, then = self._works, _then(arrival, other)
        ref = Ref(arrival.ref.scope, other.operation)
        loop = asyncio.get_running_loop()
        kept = works.replays.get(other.operation)
        if kept is not None:
            return self._completed(arrival, then, kept.record, kept.result, joined=False)
        known: Record | None = None
        while True:
            joint = works.joints.get(ref.operation) or Watch(works, ref, known)
            if self._room.is_full(joint, arrival.policy):
                return answer.refusal(Kind.OVERLOADED, "too many callers wait for this effect", arrival.ref.operation)
            with self._room.at(joint):
                found = await self._wait(arrival, then, ref.operation, joint, patience)
            if found is not None:
                return found
            known = joint.record
            # Unknown, and nobody here works on it: a probe may end it, or an operator's ruling.
            with works.wakeups.expect(ref.operation) as woken:
                await woken.wait(max(0.0, min(POLL_S, patience.joiner - loop.time())))

    async def _wait(
        self, arrival: Arrival, then: str, holder: str, joint: Joint, patience: Patience
    ) -> Answer | Course | None:
        """Wait at `joint` until it ends or patience does; None means to look again, `hold`ing on."""
        loop = asyncio.get_running_loop()
        joined = False
        while not joint.ended and not joint.overtaken:
            record = joint.record
            joined = joined or isinstance(record, InFlight)
            if record is not None and then == "refuse":
                return self._duplicate(arrival, holder)
            until = max(patience.joiner, patience.look) if record is None else patience.joiner
            if loop.time() >= until:
                return self._out_of_patience(arrival, then, holder, record)
            await joint.changed(until)
        if joint.foreign:
            detail = f"{holder} has this call's effect, and its record cannot be read by this version"
            return self._unknown(arrival, detail, holder, can_end=False, state="unreadable")
        if joint.store_down and isinstance(joint.record, InFlight | None):
            return answer.refusal(Kind.STORE_UNAVAILABLE, joint.store_down, arrival.ref.operation, effect_of=holder)
        return self._ended(arrival, then, holder, joint, patience, joined=joined)

    def _ended(
        self, arrival: Arrival, then: str, holder: str, joint: Joint, patience: Patience, *, joined: bool
    ) -> Answer | Course | None:
        match joint.record:
            case Completed() as record:
                return self._completed(arrival, then, record, joint.result, joined=joined)
            case Unknown() if then == "refuse":
                return self._duplicate(arrival, holder)
            case Unknown() as record:
                left_s = patience.joiner - asyncio.get_running_loop().time()
                may_end = then == "hold" or record.probing is not None
                patient = may_end and left_s > 0 and not self._works.stopping
                return None if patient else self._out_of_patience(arrival, then, holder, record)
            case InFlight():
                return Course(met=True)  # nobody watches it any longer
            case Free() | Alias() | None:
                return Course(met=True, passed=holder)
            case _ as never:
                assert_never(never)

    def _completed(
        self, arrival: Arrival, then: str, record: Completed, result: Result | None, *, joined: bool
    ) -> Answer | Course:
        holder, operation = record.operation, arrival.ref.operation
        if not record.succeeded:
            return Course(met=True, passed=holder)
        if then == "hold":
            return Course(met=True, over=holder)
        if arrival.span is not None:
            arrival.span.follows(record)
        if then == "refuse" or record.principal != principal_digest(holder, arrival.credential):
            # One caller's result is never another's, however alike their calls are.
            return self._duplicate(arrival, holder)
        if result is None:
            return self._count(arrival, answer.unavailable(record, operation, holder), "result-unavailable")
        how: Outcome = "joined" if joined else "replayed"
        given = answer.of_result(result, operation, how, late=record.late, effect_of=holder)
        return self._count(arrival, given, how)

    def _out_of_patience(self, arrival: Arrival, then: str, holder: str, record: Record | None) -> Answer:
        if isinstance(record, Unknown):
            detail = f"{holder} has this call's effect, and it may or may not have run: {record.why}"
            ends = can_end(record, self._works.now_ms(), arrival.policy)
            return self._unknown(arrival, detail, holder, can_end=ends, state="unknown")
        detail = f"{holder} has this call's effect, and the tool is still working on it; ask again with the same key"
        if arrival.deferrable and then == "replay":  # our alias is the place to ask at
            given = answer.pending(arrival.ref.operation, detail, "in-flight", preferred=True)
            return self._count(arrival, given, "in-flight")
        return self._prevented(arrival, Kind.IN_FLIGHT, detail, holder, "in-flight")

    def _duplicate(self, arrival: Arrival, holder: str) -> Answer:
        detail = f"{holder} has this call's effect; this one was not forwarded"
        return self._prevented(arrival, Kind.EFFECT_DUPLICATE, detail, holder, "")

    def _prevented(self, arrival: Arrival, kind: Kind, detail: str, holder: str, state: str) -> Answer:
        given = answer.refusal(kind, detail, arrival.ref.operation, state=state, effect_of=holder)
        return self._count(arrival, given, _HOW[kind])

    def _unknown(self, arrival: Arrival, detail: str, holder: str, *, can_end: bool, state: str) -> Answer:
        given = answer.unknown(
            Kind.UNKNOWN, detail, arrival.ref.operation, can_end=can_end, state=state, effect_of=holder
        )
        return self._count(arrival, given, "unknown")

    def _count(self, arrival: Arrival, given: Answer, how: str) -> Answer:
        given.how = f"effect-{how}"
        self._works.metrics.duplicates_prevented.add(arrival.policy.tool, given.how)
        return given


_HOW = {Kind.IN_FLIGHT: "in-flight", Kind.EFFECT_DUPLICATE: "refused"}


def _then(arrival: Arrival, other: Other) -> str:
    """Return what the policy says; an alias has been answered before, under whatever policy, and is so again."""
    rules = arrival.policy.effect_key
    then = "replay" if rules is None else rules.then
    return "replay" if other.alias and then != "refuse" else then
