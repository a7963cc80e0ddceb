"""Asking tools what became of calls, one replica at a time and without any caller waiting (design 2.2).

Who makes a record unknown asks when its time has come, by a timer of its own; the sweep of places that are due is the
backstop for those whose process is gone. A probe is swapped into the record before the tool is asked, with a lease that
keeps all others off, and its finding is swapped in after it. How long the outcome has been unknown is counted as the
sum of waits that have certainly passed, by leases that ran out or by our own steady clock: no two clocks are compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ledger import result as results
from ledger import transitions
from ledger.events import Asking, Probed
from ledger.key import Ref
from ledger.records import Call, CorruptRecord, Record, Unknown
from ledger.result import head_of
from ledger.store import StoreUnavailable
from ledger.transitions import Changed
from policies.model import Probe, ResultRules, ToolPolicy
from proxy import forward
from proxy.books import Standing
from proxy.fields import VIA
from proxy.finding import ANSWER_BYTES_MAX, Applied, Finding, NoAnswer, NotApplied, judge
from proxy.forward import Headers, Origin, Outbound

if TYPE_CHECKING:
    from proxy.works import Works

Policies = Callable[[Call], tuple[ToolPolicy, Origin] | None]
"""Finds what is in force for a call's tool; None if no policy names it any more."""

AT_ONCE_MAX = 100
"""Probes under way in one process: each is a connection to a tool that may be in trouble already."""

ANSWER_MS_MAX = 10_000
"""For a tool's answer to a probe, or `timeouts.upstream` if that is shorter."""

MARGIN_MS = 3_000
"""By which a probe's lease outlasts the probe: three store deadlines, for writing its finding down."""


class Prober:
    """One per process."""

    def __init__(self, works: Works, policies: Policies) -> None:
        self._works = works
        self.policies = policies
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def expect(self, ref: Ref, record: Record) -> None:
        """Ask about `record`, which has just been written, when its next probe is due; nothing if none is planned."""
        if isinstance(record, Unknown) and record.probing is not None:
            self._at(ref, record.probing.next_ms)

    def take_up(self, ref: Ref) -> None:
        """Ask now, if it is due and nobody else does."""
        self._forget_timer(ref)
        if ref.operation not in self._tasks and len(self._tasks) < AT_ONCE_MAX and not self._works.stopping:
            task = asyncio.get_running_loop().create_task(self._ask(ref))
            self._tasks[ref.operation] = task
            task.add_done_callback(lambda _: self._tasks.pop(ref.operation, None))

    async def close(self) -> None:
        """Drop what is planned and under way: a lease that runs out lets others go on."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _at(self, ref: Ref, after_ms: int) -> None:
        self._forget_timer(ref)
        loop = asyncio.get_running_loop()
        self._timers[ref.operation] = loop.call_later(after_ms / 1_000, self.take_up, ref)

    def _forget_timer(self, ref: Ref) -> None:
        if (timer := self._timers.pop(ref.operation, None)) is not None:
            timer.cancel()

    # -- one probe -----------------------------------------------------------------------------------------------

    async def _ask(self, ref: Ref) -> None:
        works = self._works
        try:
            standing = await works.books.read(ref)
            if standing is not None and isinstance(standing.record, Unknown):
                await self._ask_if_due(ref, standing, standing.record)
        except StoreUnavailable as error:
            # Its lease runs out, and the next sweep finds it: here or elsewhere.
            works.log.event("probe.postponed", level="warning", operation=ref.operation, detail=str(error))
        except CorruptRecord as error:
            works.corrupt("probe.corrupt", ref, error)

    async def _ask_if_due(self, ref: Ref, standing: Standing, record: Unknown) -> None:
        probing = record.probing
        if probing is None:
            return
        if record.listening:
            joint = self._works.joints.get(ref.operation)
            if joint is None or not joint.listening:
                return  # who listens asks
        elif (standing.lease_left_ms or 0) > 0:
            self._at(ref, (standing.lease_left_ms or 0) + 1)
            return
        ruled = self.policies(record.call)
        if ruled is None or (probe := ruled[0].unknown.probe) is None or record.plan is None:
            nobody = Probed(
                applied=False, free=False, next_ms=None, detail="no policy says how to ask", token=record.token
            )  # fmt: skip
            await self._note(ref, standing, nobody, ResultRules(), 0)
            return
        waited_ms = probing.waited_ms + probing.next_ms
        policy = ruled[0]
        answer_ms = policy.timeouts.connect_ms + min(policy.timeouts.upstream_ms, ANSWER_MS_MAX)
        begun = await self._swap(
            "probe", ref, standing, Asking(probing.asked, waited_ms, answer_ms + MARGIN_MS), policy.result
        )
        if begun is not None:
            outcome = await self._get(ruled[1], policy, probe, record.plan.target, answer_ms)
            await self._tell(ref, begun, policy, probe, judge(outcome, probe, record, policy.result.audit_id))

    async def _get(
        self, origin: Origin, policy: ToolPolicy, probe: Probe, target: str, answer_ms: int
    ) -> forward.Outcome:
        try:
            request = Outbound(
                origin, b"GET", target.encode(), _headers(probe, origin, announce=policy.announce),
                connect_ms=policy.timeouts.connect_ms, keep_bytes_max=ANSWER_BYTES_MAX,
            )  # fmt: skip
            async with asyncio.timeout(answer_ms / 1_000):
                outcome = await self._works.forward(request)
        except TimeoutError:
            return forward.Lost("no answer in time")
        except (ValueError, OSError) as error:
            return forward.Lost(str(error))
        if isinstance(outcome, forward.Replied) and outcome.stream is not None:
            outcome.stream.close()
        return outcome

    async def _tell(self, ref: Ref, begun: Standing, policy: ToolPolicy, probe: Probe, finding: Finding) -> None:
        """Write down what was found, and plan the next probe if there is to be one."""
        assert isinstance(begun.record, Unknown)
        assert begun.record.probing is not None
        waited_ms = begun.record.probing.waited_ms
        self._works.metrics.probes.labels(policy.tool, _label(finding)).inc()
        if isinstance(finding, Applied):
            kept = finding.result
            event = Probed(
                applied=True, free=False, next_ms=None, detail=f"answered {kept.status}", status=kept.status,
                digest=finding.digest, audit_id=finding.audit_id, head=head_of(kept.headers, len(kept.body)),
                token=begun.record.token,
            )  # fmt: skip
            told = await self._note(ref, begun, event, policy.result, policy.replicas, results.encode(kept))
            self._works.remember(told, kept, policy)
            return
        free = isinstance(finding, NotApplied) and _may_free(probe, policy, waited_ms)
        next_ms = None if free else _next_ms(probe, waited_ms)
        event = Probed(
            applied=False, free=free, next_ms=next_ms, detail=finding.detail, token=begun.record.token
        )  # fmt: skip
        await self._note(ref, begun, event, policy.result, policy.replicas)

    async def _note(
        self, ref: Ref, standing: Standing, event: Probed, rules: ResultRules, replicas: int,
        stored: bytes | None = None,
    ) -> Record | None:  # fmt: skip
        """Swap a finding in, which `replicas` must have; what somebody else wrote meanwhile goes first, and is judged
        anew."""
        told = await self._swap("probed", ref, standing, event, rules, stored, replicas)
        if told is None:
            now = await self._works.books.read(ref)
            told = None if now is None else await self._swap("probed", ref, now, event, rules, stored, replicas)
        if told is None:
            return None
        call = told.record.call
        self._works.log.event(
            "probed", operation=ref.operation, tenant=call.tenant, tool=call.tool, run_id=call.run_id,
            tool_call_id=call.tool_call_id, outcome=type(told.record).__name__.lower(), detail=event.detail,
        )  # fmt: skip
        self.expect(ref, told.record)
        return told.record

    async def _swap(
        self, op: str, ref: Ref, standing: Standing, event: Asking | Probed, rules: ResultRules,
        stored: bytes | None = None, replicas: int = 0,
    ) -> Standing | None:  # fmt: skip
        """Apply `event` to what stands there; return what stands from then on, or None if nothing came of it."""
        change = transitions.apply(standing.record, event, self._works.now_ms())
        if not isinstance(change, Changed):
            return None
        # While it stays unknown, a reply that settled nothing stays beside it for those who joined it elsewhere.
        beside = standing.stored if isinstance(change.record, Unknown) else stored
        answer = await self._works.books.swap(
            op, ref, standing.version, change.record, rules, stored=beside, replicas=replicas
        )
        return Standing(answer, change.record, beside, None) if isinstance(answer, str) else None


def _headers(probe: Probe, origin: Origin, *, announce: bool) -> Headers:
    """Return a probe's fields. Raises `OSError` if a file that holds a value cannot be read."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    fields = [(b"Host", f"{host}:{origin.port}".encode()), (b"Accept", b"application/json")]
    for name, given in probe.headers:
        # A file is small and local, and read now and then: a secret that was rotated is found.
        value = Path(given.removeprefix("file:")).read_text().strip() if given.startswith("file:") else given
        fields.append((name.encode(), value.encode()))
    return (*fields, VIA) if announce else tuple(fields)


def _may_free(probe: Probe, policy: ToolPolicy, waited_ms: int) -> bool:
    """Say whether *not applied* may be believed: the original handler has had its time since the last byte was sent."""
    after_ms = probe.free_after_ms
    return after_ms is not None and waited_ms >= max(after_ms, policy.timeouts.upstream_ms)


def _next_ms(probe: Probe, waited_ms: int) -> int | None:
    """Return the pause before the next probe; None after the last.

    Probes go on for `for`; if *not applied* can free the key later than that, they begin anew when it can.
    """
    free_ms = probe.free_after_ms
    if waited_ms + probe.every_ms <= probe.for_ms:
        return probe.every_ms
    if free_ms is None:
        return None
    if waited_ms < free_ms:
        return free_ms - waited_ms
    return probe.every_ms if waited_ms + probe.every_ms <= free_ms + probe.for_ms else None


def _label(finding: Finding) -> str:
    match finding:
        case Applied():
            return "applied"
        case NotApplied():
            return "not-applied"
        case NoAnswer():
            return "no-answer"
