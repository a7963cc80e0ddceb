"""Sending again what may have run, to tools that honour our key: one key, one effect (design 2.2, decision 0024).

Whoever still has the request sends it again: the process that forwarded it, of its own accord, and after its death each
arrival, which brings the same request. The record says whose turn it is, since a resend is claimed like a forward; the
pause before the next one grows with the number of claims, whoever made them, and none begins when the window is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ledger import transitions
from ledger.decisions import may_resend
from ledger.records import InFlight, Record, Unknown
from ledger.result import Result
from ledger.store import StoreUnavailable
from policies.model import ToolPolicy, Verdict
from proxy.arrival import Arrival
from proxy.books import Standing
from proxy.forward import Lost, NotSent, Outcome, Replied
from proxy.outcomes import STILL_RUNNING, verdict
from proxy.watch import POLL_S, leased

if TYPE_CHECKING:
    from proxy.execution import Execution

PATIENCE = 8
"""Pauses grow beyond `backoff.max` to this part of a call's age: who waits is answered soon, and a tool that has been
in trouble for long is left alone."""

PAUSE_MS_MAX = 60_000
"""The longest of those pauses: nobody should wait longer for a tool that is well again."""

DOUBLED_MAX = 16
"""Times that a pause is doubled; more makes no difference, and large numbers."""

RETRY_AFTER_DIGITS = 10
"""A number of seconds with as many is none that anybody means."""

LOOK_S = 5.0
"""How long one waits without a look around: a wake-up can be lost, and the process may be told to stop."""


def repeats(policy: ToolPolicy, outcome: Outcome, *, again: bool) -> bool:
    """Say whether the policy has a try that ended like this repeated within its claim. `again`: one before it may have
    run."""
    on = policy.retry.on if policy.upstream.idempotency is not None else ("not-sent",) * ("not-sent" in policy.retry.on)
    match outcome:
        case NotSent():
            return "not-sent" in on
        case Lost():
            return "lost" in on
        case Replied() if verdict(outcome.status, policy.result, again=again) is Verdict.NEITHER:
            return ("5xx" in on and outcome.status >= 500) or (again and outcome.status in STILL_RUNNING)
        case _:
            return False


def in_window(policy: ToolPolicy, record: Record, now_ms: int) -> bool:
    """Say whether the tool certainly knows our key still, if it has seen it (decision 0013)."""
    limits = [policy.upstream.honours_key_ms, policy.unknown.within_ms]
    within_ms = min((limit for limit in limits if limit is not None), default=0)
    return 0 <= now_ms - record.created_ms < within_ms


def resends(arrival: Arrival) -> bool:
    """Say whether an unknown outcome of this request is sent again; what is only observed is not."""
    policy = arrival.policy
    return policy.unknown.then == "resend" and policy.upstream.idempotency is not None and arrival.forward is None


def may_by(arrival: Arrival, record: Unknown, now_ms: int) -> bool:
    """Say whether this arrival, a later one, may send again what an earlier one sent. Where the policy ignores parts of
    the body it may bring other bytes, and a tool that compares would take the key for misused."""
    policy = arrival.policy
    unlike = bool(policy.fingerprint.ignore)
    return resends(arrival) and not unlike and may_resend(record, policy.unknown.within_ms, now_ms)


def pause_s(execution: Execution, record: Unknown) -> float:
    """Return the pause between the end of a record's last attempt and the next: the back-off, or what the tool asked
    for in its answer to us if that is longer, up to the longest back-off."""
    retry = execution.arrival.policy.retry
    aged_ms = min(PAUSE_MS_MAX, (record.since_ms - record.created_ms) // PATIENCE)
    retry = replace(retry, backoff_max_ms=max(retry.backoff_max_ms, aged_ms))
    asked_ms = retry_after_ms(execution.outcome) if record.token == execution.token else 0
    pause = execution.works.backoff_s(retry, min(record.attempt, DOUBLED_MAX))
    return max(pause, min(asked_ms, retry.backoff_max_ms) / 1_000)


def retry_after_ms(outcome: Outcome | None) -> int:
    """Return for how long a reply asks to be left alone (RFC 9110, 10.2.3), 0 if it does not say. A date is not heeded:
    it would compare two clocks."""
    if not isinstance(outcome, Replied):
        return 0
    told = next((value for name, value in outcome.headers if name.lower() == b"retry-after"), b"").strip()
    return int(told) * 1_000 if told.isdigit() and len(told) < RETRY_AFTER_DIGITS else 0


class Resend:
    """Waits for the moment to send an execution's request again, and claims the record for that."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._version = ""
        self._token = ""
        self._due_s = 0.0
        self._following = False

    async def claim(self) -> bool:
        """Return True once the record is ours to forward for; False if there is nothing to be sent any more, and what
        stands there has been published. Raises `CorruptRecord`."""
        execution = self._execution
        works, operation = execution.works, execution.arrival.ref.operation
        while True:
            with works.wakeups.expect(operation) as woken:
                try:
                    looked = await self._look()
                except StoreUnavailable as error:
                    works.log.event("resend.postponed", level="warning", operation=operation, detail=str(error))
                    looked = POLL_S if self._may(execution.record) else self._end(execution.record, None)
                if isinstance(looked, bool):
                    return looked
                await woken.wait(min(looked, LOOK_S))

    async def _look(self) -> bool | float:
        """Look at what stands there. Returns how long to wait for a change, in seconds, or the end of it."""
        execution = self._execution
        works, ref = execution.works, execution.arrival.ref
        standing = await works.books.watch(ref)
        if standing is None:
            return self._end(None, None)
        record = standing.record
        if isinstance(record, InFlight) and record.token == self._token:
            return self._ours(record)
        if leased(record):
            return await self._follow(standing)
        if not isinstance(record, Unknown) or not self._may(record):
            return self._end(record, standing.result)
        left_s = self._left_s(standing, record)
        if not self._may(record, left_s):
            return self._end(record, standing.result)  # the window will be over
        if record != execution.record:
            execution.publish(record, None, ended=False)
        return left_s if left_s > 0 else await self._swap(standing, record)

    async def _follow(self, standing: Standing) -> bool | float:
        """It is with somebody else: wait with those who wait here, or leave it to them."""
        execution = self._execution
        if (standing.lease_left_ms or 0) <= 0:
            await execution.works.lapse(execution.arrival.ref, standing)
            return 0.0
        execution.owned = False
        execution.left = True  # whoever is still there is answered from the record, like all others
        execution.publish(standing.record, None, ended=False)
        if execution.held or not self._following:
            self._following = True
            return POLL_S
        return self._end(standing.record, standing.result)

    async def _swap(self, standing: Standing, record: Unknown) -> bool | float:
        execution = self._execution
        works, arrival = execution.works, execution.arrival
        again = transitions.resend(record, self._token, works.now_ms())
        answer = await works.books.swap(
            "resend",
            arrival.ref,
            standing.version,
            again,
            arrival.policy.result,
            version=self._token,
            replicas=arrival.policy.replicas,
        )
        return self._ours(again) if isinstance(answer, str) else 0.0

    def _ours(self, record: InFlight) -> bool:
        execution = self._execution
        works, call = execution.works, record.call
        execution.token = self._token
        execution.own(record, self._token)
        works.metrics.resends.labels(call.tool).inc()
        works.log.event(
            "resent", operation=record.operation, tenant=call.tenant, tool=call.tool, run_id=call.run_id,
            tool_call_id=call.tool_call_id, attempt=record.attempt,
        )  # fmt: skip
        return True

    def _left_s(self, standing: Standing, record: Unknown) -> float:
        """Return what is left of the pause: by the record's own time, or from when it was first seen here, if clocks
        differ. A token goes with each version: asked twice, it claims once."""
        works = self._execution.works
        if standing.version != self._version:
            pause = pause_s(self._execution, record)
            passed = max(0.0, (works.now_ms() - record.since_ms) / 1_000)
            self._version, self._token = standing.version, works.books.new_id()
            self._due_s = works.clock() + max(0.0, pause - passed)
        return self._due_s - works.clock()

    def _may(self, record: Record | None, in_s: float = 0.0) -> bool:
        execution = self._execution
        now_ms = execution.works.now_ms() + round(max(0.0, in_s) * 1_000)
        return (
            record is not None and not execution.works.stopping and in_window(execution.arrival.policy, record, now_ms)
        )

    def _end(self, record: Record | None, result: Result | None) -> bool:
        execution = self._execution
        execution.resending = False
        execution.publish(record, result, ended=True)
        return False
