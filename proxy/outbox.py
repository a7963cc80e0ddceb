"""Settlements that the store could not take: kept in memory, bounded, and carried there when it is back (design 2.2).

A result that is known is never given up but by overflow or the process's end, and then loudly. What waits here is
applied to whatever stands in the store by then: a lease that lapsed meanwhile made it unknown, and the result ends
that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, get_args

from msgspec import Struct

from ledger.events import NotSent
from ledger.key import Ref
from ledger.records import CorruptRecord, Record
from ledger.store import StoreUnavailable
from policies.model import ResultRules
from proxy.log import Log
from proxy.metrics import Metrics
from proxy.outcomes import Told

BYTES_MAX = 32 * 1024 * 1024
"""Of results waiting: more than a store's minute away costs a busy sidecar, less than half of what it may use."""

WITHDRAWN_BYTES_MAX = BYTES_MAX // 4
"""Of these, at the most for withdrawn claims. Each call that is refused while the store is away leaves one, and all
that is lost with it is time: its record becomes unknown where it might have been free. Results must find room beside
them."""

Why = Literal["overflow", "withdrawn", "shutdown"]
"""Why a settlement is given up: no room, no room for a claim that was never used, or the process's end."""

ENTRY_BYTES = 2_048
PAUSE_FIRST_S, PAUSE_MAX_S = 0.2, 5.0


class Pending(Struct, frozen=True):
    """One settlement. `base` is the record it settles, should the store have lost that; `done` is called once it is
    over; `replicas` of the store must have it."""

    ref: Ref
    told: Told
    base: Record
    rules: ResultRules
    done: Callable[[], None]
    replicas: int = 0

    @property
    def weight(self) -> int:
        """Bytes of memory that it costs, roughly."""
        return ENTRY_BYTES + (len(self.told.result.body) if self.told.result is not None else 0)

    @property
    def withdrawn(self) -> bool:
        """Whether it only takes back a claim that was never used."""
        return isinstance(self.told.event, NotSent) and self.told.event.withdrawn


class Outbox:
    """`deliver` carries one settlement to the store; it raises `StoreUnavailable` while that is away."""

    def __init__(self, deliver: Callable[[Pending], Awaitable[None]], metrics: Metrics, log: Log) -> None:
        self._deliver = deliver
        self._metrics = metrics
        for why in get_args(Why):
            metrics.settlements_given_up.labels(why)  # zero: of a counter that begins with one, no increase is seen
        self._log = log
        self._bytes = 0
        self._withdrawn_bytes = 0
        self._hurry = asyncio.Event()
        self._pending: deque[Pending] = deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, pending: Pending) -> bool:
        """Keep a settlement; say whether there was room."""
        held, room = (self._withdrawn_bytes, WITHDRAWN_BYTES_MAX) if pending.withdrawn else (self._bytes, BYTES_MAX)
        if held + pending.weight > room:
            self._give_up(pending, "withdrawn" if pending.withdrawn else "overflow")
            return False
        self._pending.append(pending)
        self._weigh(pending, 1)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return True

    async def close(self, grace_s: float) -> None:
        """Give the store one more chance, then say loudly what is given up."""
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=grace_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for pending in self._pending:
            self._give_up(pending, "shutdown")
        self._pending.clear()

    async def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while self._pending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                while self._pending:
                    await self._settle(self._pending[0])
                    self._finish(self._pending.popleft())
                    pause_s = PAUSE_FIRST_S
            except StoreUnavailable:
                self._pending.rotate(-1)  # it may be this one's place alone that is in trouble
                pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _settle(self, pending: Pending) -> None:
        try:
            await self._deliver(pending)
        except CorruptRecord as error:
            self._log.event("settle.corrupt", level="error", operation=pending.ref.operation, detail=str(error))

    def _finish(self, pending: Pending) -> None:
        self._weigh(pending, -1)
        pending.done()

    def _give_up(self, pending: Pending, why: Why) -> None:
        self._metrics.settlements_given_up.labels(why).inc()
        self._log.event(
            "settle.given-up", level="error", operation=pending.ref.operation, why=why,
            detail="its record stays in flight in the store until the lease lapses, and is unknown from then on",
        )  # fmt: skip

    def _weigh(self, pending: Pending, sign: int) -> None:
        self._bytes += sign * pending.weight
        if pending.withdrawn:
            self._withdrawn_bytes += sign * pending.weight
        self._metrics.pending_bytes.set(self._bytes)
