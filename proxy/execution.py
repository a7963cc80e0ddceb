"""One claim and its forward, in a task of its own: nobody's hostage (design 2.3).

Claim, forward once, listen as long as the policy says, settle. The caller may hang up at any point: the reply is still
awaited, stored, and given to whoever asks again. If the key turns out to be somebody else's, the execution becomes a
watch over their record instead, so that every caller of this process waits at one place.
"""

from __future__ import annotations

import asyncio

from ledger import transitions
from ledger.records import CorruptRecord, Free, InFlight, Record, Unknown
from ledger.store import StoreUnavailable
from ledger.transitions import Changed, ForwardIt, JoinIt, LapseFirst, Lost, NotSent, TimedOut, decide
from proxy import forward, outcomes
from proxy.arrival import Arrival
from proxy.fields import VIA
from proxy.forward import Outbound, Replied
from proxy.joint import Joint
from proxy.outcomes import Told
from proxy.works import SWAPS_MAX, Works

POLL_S = 2.0
"""How often a watched record is read although nobody said that it changed: a wake-up can be lost with a
subscription."""

SHUTDOWN = "shutdown"


class Execution(Joint):
    """The first arrival's work, and the meeting place of all who ask for the same meanwhile."""

    __slots__ = ("_given_up", "_late_timer", "_time_out", "_timer", "arrival", "left", "pending", "sent_s", "task",
                 "token", "upstream_s", "version", "works")  # fmt: skip

    def __init__(self, works: Works, arrival: Arrival) -> None:
        super().__init__()
        self.works = works
        self.arrival = arrival
        self.token = works.books.new_id()
        self.version = ""
        self.left = False
        self.pending = False
        self.upstream_s = 0.0
        self.sent_s = 0.0
        self._given_up = ""
        self._timer: asyncio.TimerHandle | None = None
        self._late_timer: asyncio.TimerHandle | None = None
        self._time_out: asyncio.Task[None] | None = None
        self.task = asyncio.get_running_loop().create_task(self._run())
        works.opened(self)

    @property
    def listening(self) -> bool:
        """Whether the tool's time is over and its reply is awaited all the same."""
        return self._time_out is not None and not self.ended

    def give_up(self, why: str) -> None:
        """Hang up on the tool and settle as lost; `why` becomes the record's."""
        if self.owned and not self.ended and not self._given_up:
            self._given_up = why
            self.task.cancel()

    def first_caller_gone(self) -> bool:
        """Say whether the caller that this is forwarded for can no longer be answered."""
        return self.left or self.arrival.gone()

    # -- the way of one claim ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            if await self._claim():
                await self._forward()
            elif not self.ended:
                await self._watch()
        except CorruptRecord as error:
            self.foreign = str(error)
            self.works.log.event(
                "record.corrupt", level="error", operation=self.arrival.ref.operation, detail=str(error)
            )
            self.publish(None, None, ended=True)
        except StoreUnavailable as error:
            self.store_down = str(error)
            self.publish(None, None, ended=True)
        finally:
            if not self.ended:
                self.store_down = self.store_down or "the proxy is stopping"
                self.publish(self.record, self.result, ended=True)
            self.works.released(self)

    async def _claim(self) -> bool:
        """Claim the key; say whether it is ours. If not, what stands there has been published."""
        arrival, books = self.arrival, self.works.books
        expected: str | None = None
        free: Free | None = None
        for _ in range(SWAPS_MAX):
            record = transitions.claim(
                free, operation=arrival.ref.operation, fingerprint=arrival.fingerprint, call=arrival.call,
                token=self.token, now_ms=self.works.now_ms(),
            )  # fmt: skip
            try:
                answer = await books.swap(
                    "claim", arrival.ref, expected, record, arrival.policy.result, version=self.token
                )
            except StoreUnavailable as error:
                return self._claim_failed(record, error)
            if isinstance(answer, str):
                self._own(record, answer)
                return True
            if answer is None:
                expected, free = None, None
                continue
            decision = decide(
                answer.record, arrival.fingerprint, has_result=answer.stored is not None,
                lease_left_ms=answer.lease_left_ms,
            )  # fmt: skip
            match decision:
                case ForwardIt(free):
                    expected = answer.version
                case LapseFirst():
                    await self.works.lapse(arrival.ref, answer)
                case JoinIt():
                    self.publish(answer.record, None, ended=False)
                    return False
                case _:
                    self.publish(answer.record, answer.result, ended=True)
                    return False
        raise StoreUnavailable(f"the claim was overtaken {SWAPS_MAX} times")

    def _claim_failed(self, record: InFlight, error: StoreUnavailable) -> bool:
        """The claim may or may not stand. Refuse, and take it back when the store answers; or forward, if so told."""
        if self.arrival.policy.store_down == "refuse":
            self.record = record
            withdrawn = Told(NotSent(self.token, "the store did not confirm the claim", withdrawn=True))
            self.works.settle_later(self, withdrawn, str(error))
            raise error
        self.works.metrics.unprotected.labels(self.arrival.policy.tool, "store-down").inc()
        self.store_down = str(error)
        self._own(record, "")
        return True

    def _own(self, record: InFlight, version: str) -> None:
        self.version = version
        self.owned = True
        self.record = record
        if self.held:
            self.wake()  # who asks for something else with the same key need not wait for the tool to hear so

    # -- the forward ---------------------------------------------------------------------------------------------

    async def _forward(self) -> None:
        assert self.record is not None
        outcome: forward.Outcome
        try:
            outcome = await self._send(self._outbound(self.record.attempt))
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self._given_up or current is None:
                raise
            current.uncancel()
            outcome = self._cut_off()
        finally:
            self._stop_timers()
        if self._time_out is not None:
            await self._time_out
        gone = self.first_caller_gone()
        await self.settle(self._told(outcome, gone), outcome)
        if gone:
            self.works.metrics.caller_gone.labels(self.arrival.policy.tool).inc()
            if isinstance(outcome, Replied) and outcome.stream is not None:
                outcome.stream.close()

    def _cut_off(self) -> forward.Outcome:
        """We hung up ourselves. Before the first byte that is as good as never having dialled."""
        if not self.sent_s:
            return forward.NotSent("connect", self._given_up)
        return forward.Lost(self._given_up)

    def _told(self, outcome: forward.Outcome, gone: bool) -> Told:
        if self._given_up == SHUTDOWN and isinstance(outcome, forward.Lost):
            return Told(Lost(self.token, "the proxy stopped before the tool answered", why=SHUTDOWN))
        return outcomes.told(outcome, self.token, self.arrival.policy.result, late=gone)

    async def _send(self, request: Outbound) -> forward.Outcome:
        """Forward, and again after a back-off as long as nothing was sent and the policy has attempts left."""
        policy, works = self.arrival.policy, self.works
        tries = policy.retry.attempts if "not-sent" in policy.retry.on else 1
        for number in range(1, tries + 1):
            start = works.clock()
            try:
                outcome = await works.forward(request, on_sent=self._sent)
            except ValueError as error:
                # Refused by the forward before anything was dialled: it cannot be put on a wire as it is.
                return forward.NotSent("connect", str(error))
            self.upstream_s += works.clock() - start
            works.metrics.upstream_attempts.add(policy.tool, _label(outcome))
            if not isinstance(outcome, forward.NotSent) or number == tries:
                break
            await asyncio.sleep(works.backoff_s(policy.retry, number))
        return outcome

    def _outbound(self, attempt: int) -> Outbound:
        arrival = self.arrival
        headers = arrival.request.headers
        if arrival.policy.announce:
            headers += (
                VIA,
                (b"Holdfast-Operation", arrival.ref.operation.encode()),
                (b"Holdfast-Attempt", b"%d" % attempt),
            )
        request = arrival.request
        return Outbound(
            request.origin, request.method, request.target, headers, request.body, connect_ms=request.connect_ms,
            keep_bytes_max=request.keep_bytes_max,
        )  # fmt: skip

    def _sent(self) -> None:
        """The first byte is about to be written: from here on the tool may act, and its time runs."""
        loop = asyncio.get_running_loop()
        self.sent_s = self.works.clock()
        self._timer = loop.call_later(self.arrival.policy.timeouts.upstream_ms / 1_000, self._upstream_over)

    def _upstream_over(self) -> None:
        if self.works.may_listen():
            self._time_out = asyncio.get_running_loop().create_task(self._listen_on())
        else:
            self.give_up("no reply in time, and too many connections are being listened to already")

    async def _listen_on(self) -> None:
        late_s = self.arrival.policy.timeouts.late_ms / 1_000
        self._late_timer = asyncio.get_running_loop().call_later(late_s, self.give_up, "no reply in time, nor late")
        await self.settle(Told(TimedOut(self.token)), None)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._late_timer):
            if timer is not None:
                timer.cancel()

    # -- settling ------------------------------------------------------------------------------------------------

    async def settle(self, told: Told, outcome: forward.Outcome | None) -> None:
        """Carry the forward's end to the store and to everybody who waits; `outcome` is None while we listen on.

        A truth that the store cannot take now is told to the callers all the same, and kept until it can (I2).
        """
        assert self.record is not None
        try:
            record, result = await self.works.carry(self, told)
        except StoreUnavailable as error:
            change = transitions.apply(self.record, told.event, self.works.now_ms())
            record, result = change.record if isinstance(change, Changed) else self.record, told.result
            if outcome is not None:
                self.works.settle_later(self, told, str(error))
        self.outcome = outcome
        self.works.remember(record, result, self.arrival.policy)
        self.publish(record, result, ended=outcome is not None)

    # -- another's forward ---------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow another process's attempt until it has ended, or nobody here waits for it, waking ours at each
        change."""
        ref, works = self.arrival.ref, self.works
        while True:
            with works.wakeups.expect(ref.operation) as woken:
                standing = await works.books.watch(ref)
                if standing is None or not _open(standing.record):
                    self.publish(*((standing.record, standing.result) if standing else (None, None)), ended=True)
                    return
                if (standing.lease_left_ms or 0) <= 0:
                    await works.lapse(ref, standing)
                    continue
                if standing.record != self.record:
                    self.publish(standing.record, None, ended=False)
                await woken.wait(POLL_S)
            if not self.held:
                self.publish(standing.record, None, ended=True)
                return


def _open(record: Record) -> bool:
    """Say whether a live process may yet end this record."""
    return isinstance(record, InFlight) or (isinstance(record, Unknown) and record.listening)


def _label(outcome: forward.Outcome) -> str:
    match outcome:
        case Replied():
            return "replied"
        case forward.NotSent():
            return "not-sent"
        case _:
            return "lost"
