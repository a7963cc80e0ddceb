"""What all executions of one process share: the store, the forward, clocks, and what is noted when something
settles."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ledger import result as results
from ledger import transitions
from ledger.events import Lapsed, NotSent, Resumed
from ledger.key import Ref
from ledger.records import Completed, CorruptRecord, Event, Free, Record
from ledger.result import Result
from ledger.store import StoreUnavailable
from ledger.transitions import Changed
from policies.model import ResultRules, Retry, ToolPolicy
from proxy.arrival import Arrival
from proxy.books import Books, Standing, readable
from proxy.forward import Forward
from proxy.log import Log
from proxy.metrics import Metrics
from proxy.outbox import Outbox, Pending
from proxy.outcomes import Told
from proxy.probes import Prober
from proxy.replays import Replays
from proxy.wakeups import Wakeups

if TYPE_CHECKING:
    from proxy.execution import Execution
    from proxy.joint import Joint
    from proxy.watch import Watch

SWAPS_MAX = 16
"""Times one write is judged anew because somebody else wrote in between; more than a handful means a fault."""

LISTENING_MAX = 100
"""Connections on which a process listens for late replies (contract, section 6)."""


class Works:
    """One per process. `clock` is monotonic seconds, `now_ms` wall-clock milliseconds, `chance` yields [0, 1)."""

    def __init__(
        self, books: Books, forward: Forward, metrics: Metrics, log: Log, *,
        clock: Callable[[], float] = time.monotonic, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        chance: Callable[[], float] = random.random, wakeups: Wakeups | None = None,
    ) -> None:  # fmt: skip
        self.books = books
        self.forward = forward
        self.metrics = metrics
        self.log = log
        self.clock = clock
        self.now_ms = now_ms
        self._chance = chance
        self.joints: dict[str, Execution | Watch] = {}
        self.apart: set[Execution] = set()
        """Those that listen on for a late reply, though their operation has been handed over."""
        self.in_flight: dict[str, int] = {}
        self.stopping = False
        self.refusing = ""
        """Why nothing may be claimed just now, empty if it may (`proxy.heartbeat`)."""
        self.forgot = False
        """That is because the store lost memory: it lasts for minutes, or until an operator ends it."""
        self.replays = Replays(clock)
        self.wakeups = wakeups or Wakeups()
        self.outbox = Outbox(self._deliver, metrics, log)
        self.prober = Prober(self, lambda _: None)
        books.unopened = self._unopened
        if wakeups is None:
            books.store.listen(self.wakeups.heard)

    def shadow(self) -> Works:
        """Return works for calls that are only observed: the same store and clocks, as another process has them, and
        counted in metrics that nobody reads."""
        return Works(
            self.books, self.forward, Metrics(), self.log, clock=self.clock, now_ms=self.now_ms, chance=self._chance,
            wakeups=self.wakeups,
        )  # fmt: skip

    def heed_refusal(self, policy: ToolPolicy) -> None:
        """Raise `StoreUnavailable` if nothing may be claimed just now. A policy that forwards without the store goes
        on, with the store as it is."""
        if self.refusing and policy.store_down == "refuse":
            raise StoreUnavailable(self.refusing)
        if self.refusing:
            self.metrics.unprotected.labels(policy.tool, "memory-lost").inc()

    def opened(self, execution: Execution) -> None:
        """Make `execution` the meeting place of its operation."""
        tool = execution.arrival.policy.tool
        self.joints[execution.arrival.ref.operation] = execution
        self.in_flight[tool] = self.in_flight.get(tool, 0) + 1

    def only_watched(self, execution: Execution) -> None:
        """The key turned out to be somebody else's: nothing of it is in flight here."""
        execution.counted = False
        self.in_flight[execution.arrival.policy.tool] -= 1

    def released(self, execution: Execution) -> None:
        """The execution's task is over: let its operation go, unless its result still waits for the store."""
        if execution.counted:
            self.in_flight[execution.arrival.policy.tool] -= 1
        self.apart.discard(execution)
        if not (execution.pending and not isinstance(execution.record, Free)):
            self.left(execution, execution.arrival.ref)

    def left(self, joint: Joint, ref: Ref) -> None:
        """Nobody meets at `joint` any more."""
        if self.joints.get(ref.operation) is joint:
            del self.joints[ref.operation]

    def hand_over(self, execution: Execution, standing: Standing) -> None:
        """What this process still listens for has been found out, or begun anew, by somebody else: who waits here is
        told so, and whoever comes from now on looks into the ledger. The late reply is still awaited."""
        self.left(execution, execution.arrival.ref)
        self.apart.add(execution)
        execution.overtaken = True
        execution.publish(standing.record, standing.result, ended=False)

    def everyone(self) -> list[Execution | Watch]:
        """Return all that have a task of their own."""
        return [*self.joints.values(), *self.apart]

    def may_listen(self) -> bool:
        """Say whether one more connection may be listened to after its time."""
        return sum(joint.listening for joint in self.everyone()) < LISTENING_MAX

    def backoff_s(self, retry: Retry, number: int) -> float:
        """Return the pause before try `number` + 1: exponential, with full jitter in its upper half."""
        whole_ms = min(retry.backoff_base_ms << (number - 1), retry.backoff_max_ms)
        return whole_ms / 1_000 * (0.5 + self._chance() / 2)

    async def carry(self, execution: Execution, told: Told) -> tuple[Record, Result | None]:
        """Settle `execution`'s claim in the store by what was told; return what stands from then on.

        Raises `StoreUnavailable` and `CorruptRecord`.
        """
        assert execution.record is not None
        notes = execution.notes()
        record, result, version = await self._settle(
            execution.arrival.ref, told, execution.record, execution.version or None, execution.arrival.policy.result,
            execution.arrival.policy.replicas, notes,
        )  # fmt: skip
        if notes:
            execution.noted(notes)
        execution.version = execution.leased = version
        return record, result

    def settle_later(self, execution: Execution, told: Told, why: str) -> None:
        """Keep a settlement for when the store is back. Until then, this process answers from what it knows."""
        assert execution.record is not None
        arrival = execution.arrival
        self.log.event("settle.postponed", level="warning", operation=arrival.ref.operation, detail=why)

        def done() -> None:
            execution.pending = False
            self.left(execution, arrival.ref)

        # What waits for the store is bounded by what it weighs there; the request's body would come on top of that.
        execution.arrival = replace(arrival, request=replace(arrival.request, body=b""))
        pending = Pending(arrival.ref, told, execution.record, arrival.policy.result, done, arrival.policy.replicas)
        execution.pending = self.outbox.put(pending)

    async def lapse(self, ref: Ref, standing: Standing) -> bool:
        """Say of a record whose lease is over what that means; say whether it meant anything. Somebody else may have
        said so first."""
        change = transitions.apply(standing.record, Lapsed(), self.now_ms())
        if not isinstance(change, Changed):
            return False
        answer = await self.books.swap(
            "lapse", ref, standing.version, change.record, ResultRules(), stored=standing.stored
        )
        if isinstance(answer, str):
            call = change.record.call
            self.metrics.lapsed.labels(call.tool).inc()
            self.log.event(
                "lease.lapsed", level="warning", operation=ref.operation, tenant=call.tenant, tool=call.tool,
                run_id=call.run_id, tool_call_id=call.tool_call_id, outcome="unknown",
            )  # fmt: skip
            self.prober.expect(ref, change.record)
        return True

    async def resume(self, execution: Execution, standing: Standing) -> None:
        """Say that `execution` goes on after others took it for dead, so that who asks for it is held again."""
        change = transitions.apply(standing.record, Resumed(execution.token), self.now_ms())
        if not isinstance(change, Changed):
            return
        ref = execution.arrival.ref
        answer = await self.books.swap(
            "resume", ref, standing.version, change.record, ResultRules(), stored=standing.stored
        )
        if isinstance(answer, str):
            execution.leased = answer
            self.log.event("lease.resumed", level="warning", operation=ref.operation, tool=change.record.call.tool)

    def effect_met(self, arrival: Arrival, holder: str, action: str) -> None:
        """A new call's effect turned out to be `holder`'s; `action` is what the policy makes of that."""
        call = arrival.call
        self.metrics.effect_duplicates.labels(call.tool, action).inc()
        self.log.event(
            "effect.duplicate", level="warning" if action == "observe" else "info", operation=arrival.ref.operation,
            first_operation=holder, tenant=call.tenant, tool=call.tool, thread_id=call.thread_id, run_id=call.run_id,
            tool_call_id=call.tool_call_id, action=action, effect_hash=self.log.keyed(arrival.effect),
        )  # fmt: skip

    def corrupt(self, event: str, ref: Ref, error: CorruptRecord) -> None:
        """Tell that what stands at `ref` cannot be read; nobody takes it for nothing."""
        self.log.event(event, level="error", operation=ref.operation, detail=str(error))

    def _unopened(self, operation: str, why: str) -> None:
        self.log.event("result.sealed", level="error", operation=operation, detail=why)

    def remember(self, record: Record | None, result: Result | None, policy: ToolPolicy) -> None:
        """Keep a completed result near."""
        if isinstance(record, Completed) and result is not None:
            self.replays.put(record, result, policy.result.retention_ms)

    async def _deliver(self, pending: Pending) -> None:
        standing = await self.books.read(pending.ref)
        event = pending.told.event
        if standing is None and isinstance(event, NotSent) and event.withdrawn:
            return
        base, version = (pending.base, None) if standing is None else (standing.record, standing.version)
        await self._settle(pending.ref, pending.told, base, version, pending.rules, pending.replicas)

    async def _settle(
        self, ref: Ref, told: Told, record: Record, version: str | None, rules: ResultRules, replicas: int,
        notes: tuple[Event, ...] = (),
    ) -> tuple[Record, Result | None, str]:  # fmt: skip
        """Apply and swap until it stands, judging anew whatever somebody else put there meanwhile."""
        stored = None if told.result is None else results.encode(told.result)
        standing_stored: bytes | None = None
        for _ in range(SWAPS_MAX):
            change = transitions.apply(record, told.event, self.now_ms(), notes)
            if not isinstance(change, Changed):
                return record, readable(standing_stored), version or ""
            carried = standing_stored if change.conflict else stored
            answer = await self.books.swap(
                "settle", ref, version, change.record, rules, stored=carried, replicas=replicas
            )
            if isinstance(answer, str):
                self._note(change, told)
                kept = told.result if carried is stored else readable(carried)
                return change.record, kept, answer
            if answer is None:
                self._claim_lost(record)
                version, standing_stored = None, None
            else:
                record, version, standing_stored = answer.record, answer.version, answer.stored
        raise StoreUnavailable(f"the settlement of {ref.operation} was overtaken {SWAPS_MAX} times")

    def _note(self, change: Changed, told: Told) -> None:
        record = change.record
        call = record.call
        if change.conflict:
            self.metrics.late_conflicts.labels(call.tool).inc()
        elif isinstance(record, Completed) and record.late:
            self.metrics.late_results.labels(call.tool).inc()
        if not change.conflict and not self.log.wants("debug"):
            return
        self.log.event(
            "settled.conflict" if change.conflict else "settled", level="error" if change.conflict else "debug",
            operation=record.operation, tenant=call.tenant, tool=call.tool, run_id=call.run_id,
            tool_call_id=call.tool_call_id, attempt=record.attempt, detail=record.history[-1].detail,
            audit_id=record.audit_id if isinstance(record, Completed) else "",
        )  # fmt: skip

    def _claim_lost(self, record: Record) -> None:
        self.metrics.claims_lost.labels(record.call.tool).inc()
        self.log.event(
            "claim.lost", level="error", operation=record.operation, tool=record.call.tool,
            detail="the store forgot a claim that it had confirmed: it was flushed, restored or failed over",
        )  # fmt: skip
