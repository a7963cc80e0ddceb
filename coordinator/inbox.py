"""Results that were posted back: accepted fast and durably, then taken into their runs' records one by one.

Accepting checks all that can be checked at once; what turns out unusable afterwards becomes a dead letter with its
reason, and is never lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from coordinator import transitions
from coordinator.backend import Away
from coordinator.correlation import Meant, Unmatched, Why, correlate
from coordinator.keeping import label_of
from coordinator.looking import judged
from coordinator.means import Means
from coordinator.outputs import output_digest
from coordinator.records import CorruptRecord, Given, NewerRecord, Run, decode_run, encode, run_key
from coordinator.store import Delivery, Put, Written
from ledger.store import StoreUnavailable

BATCH_MAX = 64
LOOK_S = 1.0
IDLE_MS = 10_000
"""After this long a delivery's consumer is taken for dead: many store deadlines."""
DELIVERIES_MAX = 5
"""A result that was given out so often and never done with is a poison message (fault 72)."""
SWAPS_MAX = 8
"""Tries against others who write the same run; more, and it is delivered again later."""

Accepting = Literal["accepted", "duplicate", "conflict", "full", "unknown-run"]


class Entry(Struct, frozen=True, omit_defaults=True):
    """One result on its way: `output` is JSON as text."""

    backend: str
    thread_id: str
    run_id: str
    tool_call_id: str
    output: str
    at_ms: int
    step_id: str = ""


class NotNow(Exception):
    """The API must be asked which call is meant, and is away."""


Useless = Literal["unreadable", "poison", "unknown-run", "conflict"]
"""Why a result is of no use, beside those for which it belongs to no call."""


class Refusal(Struct, frozen=True):
    """Why a result is of no use: the dead letter's reason, and words for people."""

    reason: Useless | Why
    detail: str


_decoder = msgspec.json.Decoder(Entry)
_encode = msgspec.json.Encoder().encode


class Inbox:
    """One per process. `nudge(key)` is told of each run that has got a result; `complete` lets a result without a
    call's id belong to the only call that waits."""

    def __init__(self, means: Means, nudge: Callable[[str], None], *, complete: bool = False) -> None:
        self._means = means
        for reason in (*get_args(Useless), *get_args(Why)):
            means.metrics.dead_letters.labels(reason)  # zero: of a counter that begins with one, no increase is seen
        self._nudge = nudge
        self._complete = complete
        self._kick = asyncio.Event()
        self._stopping = False

    async def accept(self, entry: Entry) -> Accepting | Unmatched:
        """Take a result, or say why not. `accepted` is durable. Raises `StoreUnavailable` and `CorruptRecord`."""
        means = self._means
        standing = await means.store.read(run_key(entry.backend, entry.run_id))
        if standing is None:
            return "unknown-run"
        try:
            run, meant = await self._matched(decode_run(standing.record), entry)
        except NotNow as away:
            return Unmatched("unknown-call", f"run {entry.run_id} could not be looked at: {away}")
        if isinstance(meant, Unmatched):
            return meant
        _, taking = transitions.given(run, meant.known_as, _given(entry), means.now_ms())
        if taking in {"duplicate", "conflict"}:
            return taking
        named = entry if entry.tool_call_id else msgspec.structs.replace(entry, tool_call_id=meant.known_as)
        if not await means.store.post(means.version(), _encode(named), means.limits.queue_max):
            return "full"
        self.kick()
        return "accepted"

    def kick(self) -> None:
        """Look at the queue now."""
        self._kick.set()

    def stop(self) -> None:
        """Have `work` end once it has taken in what was delivered here: nobody else would get that for a while."""
        self._stopping = True
        self.kick()

    async def work(self) -> None:
        """Take accepted results into their runs, until `stop`."""
        means = self._means
        left: list[Delivery] = []  # what the store was away for is ours for a while: it need not be delivered again
        while left or not self._stopping:
            try:
                came = left = left or await means.store.deliveries(means.owner, BATCH_MAX, IDLE_MS)
                while left:
                    await self._take_in(left[0])
                    left = left[1:]
            except StoreUnavailable as error:
                means.store_is_away(error)
                came = []
            if not came:
                await self._idle()

    async def _take_in(self, delivery: Delivery) -> None:
        """Take one result in, or bury it. What fails without a reason is delivered again, but not for ever."""
        means = self._means
        refusal: Refusal | None
        try:
            refusal = await self._taken(_decoder.decode(delivery.entry), delivery.times)
        except StoreUnavailable:
            raise
        except NotNow as away:  # it is delivered again: what was accepted is not refused for that
            means.log.event("result.waits", level="warning", detail=str(away), attempt=delivery.times)
            return
        except NewerRecord as newer:  # a replica that can read the run gets it, once it is delivered again
            means.log.event("result.waits", level="warning", detail=str(newer), attempt=delivery.times)
            return
        except (msgspec.DecodeError, CorruptRecord) as error:
            refusal = Refusal("unreadable", str(error))
        except Exception as error:  # noqa: BLE001  a poison message must not hold up the rest
            means.log.event("result.failed", level="error", error=repr(error), attempt=delivery.times)
            if delivery.times < DELIVERIES_MAX:
                return
            refusal = Refusal("poison", repr(error))
        if refusal is None:
            await means.store.done([delivery.id])
            return
        means.metrics.dead_letters.labels(refusal.reason).inc()
        means.log.event("result.buried", level="warning", detail=refusal.detail, reason=refusal.reason)
        await means.store.bury(delivery.id, refusal.reason, refusal.detail)

    async def _taken(self, entry: Entry, times: int) -> Refusal | None:
        """Write a result into its run; None once it is there, or is known to be."""
        means, key = self._means, run_key(entry.backend, entry.run_id)
        for _ in range(SWAPS_MAX):
            standing = await means.store.read(key)
            if standing is None:
                return Refusal("unknown-run", f"run {entry.run_id} is not tracked any more")
            run, meant = await self._matched(decode_run(standing.record), entry)
            if isinstance(meant, Unmatched):
                return Refusal(meant.why, meant.detail)
            run, taking = transitions.given(run, meant.known_as, _given(entry), means.now_ms())
            if taking == "conflict":
                return Refusal("conflict", f"call {meant.known_as} was settled with another output")
            if taking == "unknown":
                return Refusal("unknown-call", f"run {entry.run_id} has asked for no call {meant.known_as}")
            means.metrics.posted.labels(taking).inc()
            if taking == "duplicate":
                return None
            forget_ms = means.limits.remember_ms if run.over else None
            put = Put(key, standing.version, means.version(), encode(run), label=label_of(run), forget_ms=forget_ms)
            if isinstance(await means.store.swap(put), Written):
                means.log.event(
                    f"result.{taking}", thread_id=run.thread_id, run_id=run.run_id, tool_call_id=meant.known_as
                )
                self._nudge(key)
                return None
        raise RuntimeError(f"run {entry.run_id} was written by others {SWAPS_MAX} times in a row, delivery {times}")

    async def _matched(self, run: Run, entry: Entry) -> tuple[Run, Meant | Unmatched]:
        """Return the call that a result belongs to; where the record knows none, as of a look at the API. Raises
        `NotNow`."""
        meant = self._correlated(run, entry)
        curable = {"unknown-call", "ambiguous"} if self._complete or entry.tool_call_id else set()
        if not isinstance(meant, Unmatched) or meant.why not in curable or run.over:
            return run, meant
        after, _ = await judged(self._means, run)
        self._means.metrics.polls.labels("posted").inc()
        if isinstance(after, Away):
            raise NotNow(after.why)
        return (after, self._correlated(after, entry)) if isinstance(after, Run) else (run, meant)

    def _correlated(self, run: Run, entry: Entry) -> Meant | Unmatched:
        return correlate(run, entry.thread_id, entry.step_id, entry.tool_call_id, complete=self._complete)

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._kick.wait()
        except TimeoutError:
            return
        finally:
            self._kick.clear()


def _given(entry: Entry) -> Given:
    return Given(entry.output, output_digest(entry.output), "posted", "posted", entry.at_ms)
