"""Reconciling one run, again and again, for as long as this process owns it: bring what we know of it up to date, and
do the next right thing.

A pass can be made at any time, by any replica, any number of times: all that it rests on is in the record, and the
record is swapped by version. What a pass does next is `coordinator.decisions`' word; what becomes of the record,
`coordinator.transitions`'. Nothing is executed or submitted before the record says so in the store; what a crash would
find out again by asking (a status, a result that the proxy replays, an accepted submission) may wait a moment, and is
written with the next change.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

from coordinator import transitions
from coordinator.backend import ENDED, Away, Gone
from coordinator.decisions import Wants, deadline_of, outputs_of, wants
from coordinator.looking import judged
from coordinator.means import Means
from coordinator.polling import FAST_S, away_s, pause_s
from coordinator.records import Call, Given, Run, Step, decode_run, encode
from coordinator.results import end_of, given_of, in_place_of
from coordinator.slots import asked
from coordinator.spans import StepSpan
from coordinator.store import Put, Standing, Written
from coordinator.tools import Ask
from ledger.store import StoreUnavailable

RETRY_S = 0.25
"""Between tries to write what the store could not take."""
REREAD_S = 2.0
"""Between readings of the record while a gateway's result is waited for: the nudge that tells of it may be lost."""
OWNED_AGAIN_S = 1.0
"""Between looks whether the store has said again that the run is ours."""
RELEASES_MAX = 4
"""Tries to let go of a run when the process ends."""
SWEEP_MAX_S = 60.0
"""The longest that a run is left alone by its keeper, whatever its own times say."""


class Keeping:
    """One run that this process owns, from `place`; `keep` returns when it is over, or no longer ours."""

    def __init__(self, means: Means, place: Standing, own_until: float) -> None:
        """Raises `coordinator.records.CorruptRecord`."""
        self._means = means
        self.key = place.key
        self.run = self._stored = decode_run(place.record)
        self.own_until = own_until
        self._asked_until_ms = means.now_ms() + means.limits.taken_ms
        self._version = place.version
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._results: dict[str, Given] = {}
        self._applied: dict[str, Given] = {}
        self._arguments: dict[str, str] = {}
        self._wake = asyncio.Event()
        self._span = StepSpan(means.tracing)
        self._lost = self._stopping = self._stale = self._released = False
        self._look_at = self._submit_at = 0.0
        self._reread_at = math.inf
        self._flush_at: float | None = None
        self._quiet = self._failures = self._untaken = 0
        self._why = "taken"
        self._shown_at: float | None = None
        self._whole_at: float | None = None

    # -- from outside --------------------------------------------------------------------------------------------

    def nudge(self, why: str, *, stale: bool) -> None:
        """Look at the run at once; `stale`: what the store has may be newer than what is known here."""
        self._stale = self._stale or stale
        self._look_at, self._quiet, self._why = 0.0, 0, why
        self._wake.set()

    @property
    def lapsed(self) -> bool:
        """Whether the run's visibility may be over, so that somebody else may take it."""
        return asyncio.get_running_loop().time() >= self.own_until

    def lose(self) -> None:
        """Somebody else owns the run: touch nothing more."""
        self._lost = True
        self._wake.set()

    def stop(self) -> None:
        """Let go of the run after the present pass, for whoever takes it next."""
        self._stopping = True
        self._wake.set()

    async def keep(self) -> None:
        """Reconcile until the run is over, lost, or to be let go."""
        try:
            while not (self._lost or self._released or self._stopping):
                await self._pass()
                await self._rest()
        finally:
            for task in self._tasks.values():
                task.cancel()  # the proxy goes on: whoever asks again under the same ids gets the result
            self._span.end("let go")
        if self._stopping and not (self._lost or self._released):
            await self._let_go()

    async def _let_go(self) -> None:
        """Release the run; another's write may come in between. If all tries fail, it falls due by itself, later."""
        for _ in range(RELEASES_MAX):
            if await self._write(self.run, release_in_ms=0):
                return

    # -- one pass ------------------------------------------------------------------------------------------------

    def _is_ours(self) -> bool:
        """Whether anything may be done for the run: as far as the store has said, nobody else has it (fault 75). Each
        wait may have been a long one, so this is asked anew after it."""
        return not self._lost and not self.lapsed

    async def _pass(self) -> None:
        loop = asyncio.get_running_loop()
        stale = self._stale or loop.time() >= self._reread_at
        if not self._is_ours() or (stale and not await self._reread()):
            return
        run = self.run
        if loop.time() >= self._look_at and not run.over:
            run = await self._looked(run)
        run = self._with_errors(self._with_results(run))
        if not self._is_ours() or not await self._kept_up(run) or not self._is_ours():
            return
        wanted = self._wants(run)
        self._start(wanted)
        if wanted.submit is not None and loop.time() >= self._submit_at:
            await self._submit(wanted.submit)

    def _wants(self, run: Run) -> Wants:
        return wants(run, self._means.now_ms(), self._means.limits.margin_ms, self._asked_until_ms)

    async def _kept_up(self, run: Run) -> bool:
        """Take `run` for the truth, written down if it must be; say whether it could be."""
        loop = asyncio.get_running_loop()
        self.run = run
        if run.over and not self._tasks:
            return await self._write(run, release_in_ms=None)
        if _shape(run) != _shape(self._stored) or run.over != self._stored.over:
            return await self._write(run)
        if _told(run) == _told(self._stored):
            self._flush_at = None
            return True
        if self._flush_at is None:
            self._flush_at = loop.time() + self._means.limits.flush_ms / 1_000
        return loop.time() < self._flush_at or await self._write(run)

    async def _rest(self) -> None:
        """Wait for what comes first: a nudge, a result, or one of our own times."""
        if self._lost or self._released or self._stopping:
            return
        loop, means = asyncio.get_running_loop(), self._means
        times = [loop.time() + OWNED_AGAIN_S] if self.lapsed else []
        if not times:
            wanted = self._wants(self.run)
            times = [loop.time() + SWEEP_MAX_S, self._reread_at]
            if not self.run.over:
                times.append(self._look_at)
            if self._flush_at is not None:
                times.append(self._flush_at)
            if wanted.submit is not None:
                times.append(self._submit_at)
            if wanted.until_ms:
                times.append(loop.time() + max(0, wanted.until_ms - means.now_ms()) / 1_000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(times)):
                await self._wake.wait()
        self._wake.clear()

    # -- looking -------------------------------------------------------------------------------------------------

    async def _looked(self, run: Run) -> Run:
        """Return the run as the API has it now, or as it was if the API says nothing."""
        loop, means = asyncio.get_running_loop(), self._means
        began, why, self._why = loop.time(), self._why, "poll"
        self._look_at = math.inf  # a nudge while the API is asked may tell of something newer than what it will say
        means.metrics.polls.labels(why).inc()
        after, arguments = await judged(means, run)
        match after:
            case Away():
                self._failures += 1
                pause = away_s(self._failures, means.share(), after.retry_after_ms)
                self._look_at = min(self._look_at, loop.time() + pause)
                means.log.event("backend.away", level="warning", **self._ids(), detail=after.why)
                return run
            case Gone():
                return transitions.gone(run, after.why, means.now_ms())
            case Run():
                self._arguments = arguments
                self._note(run, after, began, why)
                return after

    def _note(self, before: Run, after: Run, began: float, why: str) -> None:
        """Say when to look next, and what the look has shown."""
        now, means = asyncio.get_running_loop().time(), self._means
        news = after.status != before.status or _shape(after) != _shape(before)
        self._failures = 0
        self._quiet = 0 if news else self._quiet + 1
        healthy = means.notifications.healthy(now)
        if news and why == "sweep" and healthy:
            means.notifications.missed(now)
        pause = pause_s(self._quiet, healthy=healthy)
        self._look_at = min(self._look_at, now + pause)
        self._why = "sweep" if healthy and pause > FAST_S * 4 else "poll"
        if _shape(after) != _shape(before):
            self._shown_at = began
            step = after.step
            assert step is not None
            means.log.event(
                "step.asked", **self._ids(), step_id=step.step_id, calls=len(step.calls),
                renewed=sum(bool(call.asked_as) for call in step.calls), strays=sum(call.stray for call in step.calls),
            )  # fmt: skip
        if after.status != before.status:
            means.log.event("run.status", **self._ids(), status=after.status, was=before.status)

    # -- executing -----------------------------------------------------------------------------------------------

    def _start(self, wanted: Wants) -> None:
        """Ask the proxy for each call that is not being asked for."""
        loop, means = asyncio.get_running_loop(), self._means
        posted = any(means.is_elsewhere(call.tool) for call in wanted.execute)
        self._reread_at = min(self._reread_at, loop.time() + REREAD_S) if posted else math.inf
        for call in wanted.execute:
            if call.known_as in self._tasks or means.is_elsewhere(call.tool):
                continue
            arguments = self._arguments.get(call.tool_call_id)
            if arguments is None:
                continue  # taken over from another process: the next look brings them
            if self._shown_at is not None:
                means.metrics.dispatch.observe(loop.time() - self._shown_at)
                self._shown_at = None
            self._tasks[call.known_as] = loop.create_task(self._execute(call, arguments))

    async def _execute(self, call: Call, arguments: str) -> None:
        """Ask for one call until there is something definite, and take that for its result."""
        means, run = self._means, self.run
        until_ms = deadline_of(call, run, means.limits.margin_ms, self._asked_until_ms)
        step_id = "" if run.step is None else run.step.step_id
        ask = Ask(
            run.thread_id, run.run_id, step_id, call.known_as, call.tool, arguments, run.tenant, run.user,
            self._span.within(run), write=call.write,
        )  # fmt: skip
        try:
            told = await asked(means, ask, (until_ms - means.now_ms()) / 1_000)
        finally:
            self._tasks.pop(call.known_as, None)
        means.metrics.calls.labels(told.verdict).inc()
        means.log.event(
            "tool.called", **self._ids(), step_id=step_id, tool=call.tool, tool_call_id=call.tool_call_id,
            known_as=call.asked_as, verdict=told.verdict, outcome=told.outcome, operation=told.operation,
            upstream_status=told.status, tries=told.tries, detail=told.problem,
        )  # fmt: skip
        result = given_of(told, means.now_ms())
        if result is not None:
            self._results[call.known_as] = result
            self._whole_at = asyncio.get_running_loop().time()
        self._wake.set()

    def _with_results(self, run: Run) -> Run:
        """Take the results that are not written down yet into the run; once more is the same as once."""
        now_ms = self._means.now_ms()
        self._applied = dict(self._results)
        for call_id, result in self._applied.items():
            before = run
            run, taking = transitions.given(before, call_id, result, now_ms)
            if run is not before and taking in {"late", "conflict"}:
                self._means.log.event(f"result.{taking}", level="warning", **self._ids(), tool_call_id=call_id)
        return run

    def _with_errors(self, run: Run) -> Run:
        """Give calls that have no more time an honest error for an output: the run must not stall."""
        means = self._means
        now_ms = means.now_ms()
        for call in self._wants(run).overdue:
            known = call.known_as in self._tasks
            result = in_place_of(call, now_ms, asked=known, elsewhere=means.is_elsewhere(call.tool))
            run, _ = transitions.given(run, call.known_as, result, now_ms)
            means.log.event(
                "call.overdue", level="warning", **self._ids(), tool=call.tool, tool_call_id=call.tool_call_id,
                outcome=result.outcome,
            )  # fmt: skip
        return run

    # -- submitting ----------------------------------------------------------------------------------------------

    async def _submit(self, step: Step) -> None:
        """Hand in the outputs of a step: written down before and after, and never repeated on a guess."""
        loop, means = asyncio.get_running_loop(), self._means
        token = means.version()
        before = transitions.submitting(self.run, token, means.now_ms())
        if not await self._write(before) or not self._is_ours():
            return
        if self._whole_at is not None:
            means.metrics.submit_lag.observe(loop.time() - self._whole_at)
            self._whole_at = None
        answer = await means.backend.submit(before.thread_id, before.run_id, outputs_of(step))
        end, detail = end_of(answer)
        means.metrics.submissions.labels(end).inc()
        run = transitions.submitted(before, token, end, detail, means.now_ms())
        if isinstance(answer, Gone):
            run = transitions.gone(run, answer.why, means.now_ms())
        self.run = run
        self._quiet, self._why = 0, "submitted"
        if end == "accepted":
            self._span.end(end)
            self._untaken = 0
            self._look_at = loop.time() + FAST_S
            means.metrics.requires_action.observe(max(0, means.now_ms() - step.since_ms) / 1_000)
        else:
            self._untaken += 1
            wanted_ms = answer.retry_after_ms if isinstance(answer, Away) else None
            self._submit_at = loop.time() + away_s(self._untaken, means.share(), wanted_ms)
            self._look_at = min(self._submit_at, loop.time() + FAST_S)  # it may have moved on, or have taken them
        number = before.steps[-1].attempts[-1].number
        means.log.event(
            "step.submitted", level="info" if end == "accepted" else "warning", **self._ids(), step_id=step.step_id,
            result=end, attempt=number, detail=detail, calls=len(step.calls),
        )  # fmt: skip

    # -- the record ----------------------------------------------------------------------------------------------

    async def _write(self, run: Run, *, release_in_ms: int | None = -1) -> bool:
        """Swap the record, and go on owning it or (`release_in_ms`) let it go; say whether it was written. Where
        another stands, that one is taken for the truth, and the next pass begins anew."""
        loop, means = asyncio.get_running_loop(), self._means
        release = release_in_ms != -1
        limits = means.limits
        put = Put(
            self.key, self._version, means.version(), encode(run), label=label_of(run), owner=means.owner,
            then="release" if release else "keep", in_ms=release_in_ms if release else limits.visibility_ms,
            forget_ms=limits.remember_ms if run.over else None,
        )  # fmt: skip
        began = loop.time()
        try:
            answer = await means.store.swap(put)
        except StoreUnavailable as error:
            means.store_is_away(error)
            self._look_at = max(self._look_at, loop.time() + RETRY_S)
            self._flush_at = self._submit_at = loop.time() + RETRY_S
            return False
        if not isinstance(answer, Written):
            self._take_over(answer.standing)
            return False
        self._version, self._stored, self.run = put.version, run, run
        for call_id, result in self._applied.items():
            if self._results.get(call_id) is result:
                del self._results[call_id]
        self._flush_at = None
        self._released = release
        if not self.lapsed:  # else somebody may have taken the run before it was written: ask with `renew`
            self.own_until = began + limits.visibility_ms / 1_000
        return True

    def _take_over(self, standing: Standing | None) -> None:
        """Go on from what stands in the store."""
        if standing is None or standing.owner not in {"", self._means.owner}:
            self._lost = True
            return
        self._version, known = standing.version, self.run
        self.run = self._stored = decode_run(standing.record)
        self._look_at, self._flush_at = 0.0, None
        if self.run.posted > known.posted:
            self._whole_at = asyncio.get_running_loop().time()
        self._wake.set()

    async def _reread(self) -> bool:
        """Read the record anew; say whether it could be read and is still ours."""
        try:
            standing = await self._means.store.read(self.key)
        except StoreUnavailable:
            self._look_at = self._reread_at = asyncio.get_running_loop().time() + RETRY_S
            return False
        self._stale, self._reread_at = False, math.inf
        if standing is None or standing.version != self._version:
            self._take_over(standing)
        return not self._lost

    def _ids(self) -> dict[str, Any]:
        run = self.run
        return {"thread_id": run.thread_id, "run_id": run.run_id, "tenant": run.tenant}


def label_of(run: Run) -> str:
    """Return what a run is listed and counted under: its status, or `gone` if the API knows it no more."""
    return "gone" if run.over and run.status not in ENDED else run.status


def _shape(run: Run) -> tuple[object, ...]:
    """What must be written down before anything is done about it: which calls there are, and as what they are known."""
    return tuple((step.step_id, tuple((call.tool_call_id, call.known_as) for call in step.calls)) for step in run.steps)


def _told(run: Run) -> tuple[object, ...]:
    """What may wait a little to be written down; when the API was last asked need not be at all."""
    return run.status, run.steps, run.history
