"""One claim and its forward, in a task of its own: nobody's hostage (design 2.3).

Claim, forward once, listen as long as the policy says, settle. The caller may hang up at any point: the reply is still
awaited, stored, and given to whoever asks again. If the key turns out to be somebody else's, the execution becomes a
watch over their record instead, so that every caller of this process waits at one place.
"""

from __future__ import annotations

import asyncio

from ledger import transitions
from ledger.events import Lost, TimedOut
from ledger.records import DETAIL_MAX, CorruptRecord, Event, InFlight, Record, Unknown
from ledger.store import StoreUnavailable
from ledger.transitions import Changed
from proxy import forward, outcomes
from proxy.arrival import Arrival
from proxy.claim import AT_FIRST, Course, claim
from proxy.fields import VIA
from proxy.forward import Outbound, Replied
from proxy.joint import Joint
from proxy.outcomes import Told
from proxy.resends import Resend, in_window, repeats, resends
from proxy.watch import heed, watch
from proxy.works import Works

SHUTDOWN = "shutdown"


class Execution(Joint):
    """The first arrival's work, and the meeting place of all who ask for the same meanwhile.

    version  of our last write, which `record` is the content of: what the next settlement builds on.
    leased   the version whose lease we renew: the same, unless somebody has noted something in the record since.
    left     the first caller was answered without the tool's reply.
    course   what its first arrival knew of its effect's holder.
    again    a try of this call has been sent whose end says nothing: from there on only a final reply says something.
    counted  among the tool's calls in flight here: a claim on its way, or ours.
    """

    __slots__ = (
        "_cut_short", "_forwarding", "_gone_told", "_heeding", "_late_timer", "_lines", "_sent", "_time_out", "_timer",
        "_watching", "again", "arrival", "counted", "course", "leased", "left", "pending", "task", "token",
        "upstream_s", "version", "works",
    )  # fmt: skip

    def __init__(self, works: Works, arrival: Arrival, course: Course = AT_FIRST) -> None:
        super().__init__()
        self.works = works
        self.arrival = arrival
        self.course = course
        self.token = works.books.new_id()
        self.version = ""
        self.leased = ""
        self.left = False
        self.again = False
        self._lines: tuple[Event, ...] = ()
        self._gone_told = False
        self.counted = True
        self.pending = False
        self.upstream_s = 0.0
        self._sent = False
        self._forwarding = False
        self._watching = False
        self._cut_short: Lost | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late_timer: asyncio.TimerHandle | None = None
        self._time_out: asyncio.Task[None] | None = None
        self._heeding: asyncio.Task[None] | None = None
        self.task = self.loop.create_task(self._run())
        works.opened(self)

    @property
    def listening(self) -> bool:
        """Whether the tool's time is over and its reply is awaited all the same."""
        return self._time_out is not None and not self.ended

    def give_up(self, detail: str, why: str = "lost") -> None:
        """Hang up on the tool and settle as lost; `why` becomes the record's. A claim that is still on its way is
        withdrawn once it is answered; a reply that is being written down is not interrupted."""
        if self.ended or self._cut_short is not None:
            return
        self._cut_short = Lost(self.token, detail, why)
        if self._forwarding or self._watching:
            self.task.cancel()

    def first_caller_gone(self) -> bool:
        """Say whether the caller that this is forwarded for can no longer be answered."""
        return self.left or self.arrival.gone()

    # -- the way of one claim ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            self.works.heed_refusal(self.arrival.policy)
            if await claim(self, self.course):
                await self._forward()
            elif self.resending:
                self.left = self.again = True  # the request that went first was another's
                await self._pursue()
                self._let_go_of_stream()
            else:
                self.works.only_watched(self)
                if not self.ended and self._cut_short is None:
                    self._watching = True
                    await watch(self.works, self.arrival.ref, self)
        except CorruptRecord as error:
            self.foreign = str(error)
            self.works.corrupt("record.corrupt", self.arrival.ref, error)
            self.publish(None, None, ended=True)
        except StoreUnavailable as error:
            self.store_down = str(error)
            self.publish(None, None, ended=True)
        finally:
            if not self.ended:
                self.store_down = self.store_down or "the proxy is stopping"
                self.publish(self.record, self.result, ended=True)
            self.works.released(self)

    def own(self, record: InFlight, version: str) -> None:
        """The key is ours to forward for; `version` is empty if the store does not know."""
        self.version = self.leased = version
        self.owned = True
        self.record = record
        if self.held:
            self.wake()  # they have joined a call in flight; or ask for something else, and need not wait to hear so

    # -- the forward ---------------------------------------------------------------------------------------------

    async def _forward(self) -> None:
        await self._attempt()
        if not self.ended:
            await self._pursue()
        if self.first_caller_gone():
            self.works.metrics.caller_gone.labels(self.arrival.policy.tool).inc()
            self._let_go_of_stream()

    async def _attempt(self) -> None:
        """Forward for the claim that we hold, and settle it."""
        outcome = await self._ask_tool()
        if self._time_out is not None:
            await self._time_out
            self._stop_timers()
        if self.again and isinstance(outcome, forward.NotSent):
            outcome = forward.Lost(f"{outcome.phase}: {outcome.why}")  # this try was not sent; one before it was
        told = self._told(outcome, self.first_caller_gone())
        if self._cut_short is not None and self._cut_short.why == "timeout":
            self._cut_short = None  # that was this attempt's
        await self.settle(told, outcome)

    async def _pursue(self) -> None:
        """Send again what may have run, as long as the policy says so and nobody knows."""
        try:
            while self.resending and self._cut_short is None:
                self.again = self._watching = True
                claimed = await Resend(self).claim()
                self._watching = False
                if claimed:
                    await self._attempt()
        except asyncio.CancelledError:
            if self._cut_short is None:
                raise
            self.task.uncancel()
        if not self.ended:
            self.resending = False
            self.publish(self.record, self.result, ended=True)

    def _let_go_of_stream(self) -> None:
        if isinstance(self.outcome, Replied) and self.outcome.stream is not None:
            self.outcome.stream.close()

    async def _ask_tool(self) -> forward.Outcome:
        """Forward, unless we were told to stop before we began."""
        assert self.record is not None
        if (cut := self._cut_short) is not None:
            return forward.NotSent("connect", cut.detail)
        self._forwarding = True
        try:
            return await self._send(self._outbound(self.record.attempt))
        except asyncio.CancelledError:
            if (cut := self._cut_short) is None:
                raise
            self.task.uncancel()
            # We hung up ourselves. Before the first byte that is as good as never having dialled.
            return forward.Lost(cut.detail) if self._sent else forward.NotSent("connect", cut.detail)
        finally:
            self._forwarding = False
            self._stop_timers()

    def _told(self, outcome: forward.Outcome, gone: bool) -> Told:
        if self._cut_short is not None and isinstance(outcome, forward.Lost):
            return Told(self._cut_short)
        return outcomes.told(outcome, self.token, self.arrival.policy.result, late=gone, again=self.again)

    async def _send(self, request: Outbound) -> forward.Outcome:
        """Forward, and again after a back-off as long as that is safe and the policy has attempts left: nothing was
        sent, or the tool honours our key."""
        policy, works = self.arrival.policy, self.works
        for number in range(1, policy.retry.attempts + 1):
            start = works.clock()
            try:
                outcome = await (self.arrival.forward or works.forward)(request, on_sent=self._note_sent)
            except ValueError as error:
                if self._sent:
                    return forward.Lost(f"the forward failed: {error}")
                # Refused by the forward before anything was dialled: it cannot be put on a wire as it is.
                return forward.NotSent("connect", str(error))
            self.upstream_s += works.clock() - start
            works.metrics.upstream_attempts.add(policy.tool, _label(outcome))
            if number == policy.retry.attempts or not self._repeats(outcome):
                break
            await asyncio.sleep(works.backoff_s(policy.retry, number))
        return outcome

    def _repeats(self, outcome: forward.Outcome) -> bool:
        """Say whether to try once more within this claim; what was sent and is sent again is let go of."""
        if isinstance(outcome, Replied) and outcome.status < 400 and not self.again:
            return False  # it is as good as any
        if not repeats(self.arrival.policy, outcome, again=self.again):
            return False
        now_ms = self.works.now_ms()
        if not isinstance(outcome, forward.NotSent):
            assert self.record is not None
            usable = self._time_out is None and self.arrival.forward is None
            if not usable or not in_window(self.arrival.policy, self.record, now_ms):
                return False
            self.again = True
            self._stop_timers()
            if isinstance(outcome, Replied) and outcome.stream is not None:
                outcome.stream.close()
        detail = str(outcome.status) if isinstance(outcome, Replied) else outcome.why
        self._lines += (Event(now_ms, "retried", self.token, f"{_label(outcome)}: {detail}"[:DETAIL_MAX]),)
        return True

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
            keep_bytes_max=request.keep_bytes_max, write_ms=arrival.policy.timeouts.upstream_ms,
        )  # fmt: skip

    def _note_sent(self) -> None:
        """The first byte is about to be written: from here on the tool may act, and its time runs."""
        self._sent = True
        upstream_s = self.arrival.policy.timeouts.upstream_ms / 1_000
        self._timer = self.loop.call_later(upstream_s, self._upstream_over)

    def _upstream_over(self) -> None:
        loop = self.loop
        late_s = self.arrival.policy.timeouts.late_ms / 1_000
        assert self.record is not None
        if self._resends(self.record):
            self.give_up("no reply in time: it is sent again", "timeout")
        elif late_s and self.works.may_listen():
            self._late_timer = loop.call_later(late_s, self.give_up, "no reply in time, nor late")
            self._time_out = loop.create_task(self._listen())
        else:
            self.give_up("no reply in time, and nobody listens any longer", "timeout")

    async def _listen(self) -> None:
        await self.settle(Told(TimedOut(self.token)), None)
        if not self.ended:
            self._heeding = self.loop.create_task(heed(self.works, self))

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._late_timer, self._heeding):
            if timer is not None:
                timer.cancel()

    def notes(self) -> tuple[Event, ...]:
        """Return what has happened here since our last write, for the record's history: it goes with the next one, and
        costs no round trip of its own."""
        if self.joins:
            self._lines += (Event(self.joined_ms, "joined", self.token, f"{self.joins} more"),)
            self.joins = 0
        if not self._gone_told and not self.left and self.arrival.gone():
            self._lines += (Event(self.works.now_ms(), "caller-gone", self.token),)
            self._gone_told = True
        return self._lines

    def noted(self, notes: tuple[Event, ...]) -> None:
        """Those notes have been written down."""
        self._lines = self._lines[len(notes) :]

    # -- settling ------------------------------------------------------------------------------------------------

    async def settle(self, told: Told, outcome: forward.Outcome | None) -> None:
        """Carry the forward's end to the store and to everybody who waits; `outcome` is None while we listen on.

        A truth that the store cannot take now is told to the callers all the same, and kept until it can (I2).
        """
        assert self.record is not None
        carried = False
        try:
            record, result = await self.works.carry(self, told)
            carried = True
        except (StoreUnavailable, CorruptRecord) as error:
            change = transitions.apply(self.record, told.event, self.works.now_ms())
            record, result = change.record if isinstance(change, Changed) else self.record, told.result
            if isinstance(error, CorruptRecord):
                self.works.corrupt("settle.corrupt", self.arrival.ref, error)
            elif outcome is not None:
                self.works.settle_later(self, told, str(error))
        self.outcome = outcome
        self.works.remember(record, result, self.arrival.policy)
        self.works.prober.expect(self.arrival.ref, record)
        over = outcome is not None
        self.resending = over and carried and isinstance(record, Unknown) and self._resends(record)
        if self.resending:
            self.leased = ""  # an unknown has no lease
            self._time_out = None
        self.publish(record, result, ended=over and not self.resending)

    def _resends(self, record: Record) -> bool:
        """Say whether this call, if its outcome is unknown now, is to be sent again from here."""
        stopping = self.works.stopping or self._cut_short is not None
        return not stopping and resends(self.arrival) and in_window(self.arrival.policy, record, self.works.now_ms())


def _label(outcome: forward.Outcome) -> str:
    match outcome:
        case Replied():
            return "replied"
        case forward.NotSent():
            return "not-sent"
        case _:
            return "lost"
