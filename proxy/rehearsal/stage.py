"""One proxy put together for a rehearsal: a memory store by the loop's clock, a scripted tool, no sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator

from ledger import records
from ledger.records import Alias, Completed, Free, InFlight, Record, Unknown
from ledger.stores.memory import MemoryStore
from policies.cases import State
from policies.matcher import PolicySet
from proxy.books import Books
from proxy.data_port import DataPort
from proxy.forward import Forward, Origin
from proxy.guard import Guard
from proxy.inbound.server import Server
from proxy.leases import Leases
from proxy.log import Log
from proxy.metrics import Metrics
from proxy.works import Works

LEASE_MS = 600_000
"""Longer than in service: nobody dies in a rehearsal, and to renew every 5 s of hours that pass at once takes long."""

EPOCH_MS = 1_700_000_000_000
"""The wall clock's time at zero of the loop's."""

TOOLS = Origin("http", "tools.internal", 9000)
LISTED_MAX = 10_000


def wall_ms() -> int:
    """Return the loop's time as wall clocks and stores tell it."""
    return EPOCH_MS + round(asyncio.get_running_loop().time() * 1_000)


class Stage:
    """`server` takes callers' connections."""

    def __init__(self, policies: PolicySet, forward: Forward, log: Log) -> None:
        loop = asyncio.get_running_loop()
        numbers = itertools.count(1)
        metrics = Metrics()
        self._store = MemoryStore(wall_ms)
        books = Books(self._store, metrics, lambda: f"w{next(numbers)}", LEASE_MS)
        self._works = Works(
            books, forward, metrics, log, clock=loop.time, now_ms=wall_ms, chance=lambda: 0.5
        )  # fmt: skip
        self._leases = Leases(self._works, LEASE_MS, lambda: 0.5)
        port = DataPort(self._works, Guard(self._works), lambda: policies, TOOLS)
        self._works.prober.policies = port.asked_of
        self.server = Server(port.serve, log, port.refused)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve, and keep leases true."""
        await self._store.start()
        keeping = asyncio.get_running_loop().create_task(self._leases.run())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self._store.close()

    async def under_way(self) -> bool:
        """Say whether anything may still happen by itself: a forward, somebody who listens, a probe that is due."""
        if self._works.joints:
            return True
        standing = [record for record, _ in await self._records()]
        return any(
            isinstance(record, InFlight) or (isinstance(record, Unknown) and record.probing is not None)
            for record in standing
        )

    async def states(self) -> tuple[State, ...]:
        """Return what the ledger has of each operation, in the order of their first claims."""
        return tuple(_state(record, has_result) for record, has_result in await self._records())

    async def _records(self) -> list[tuple[Record, bool]]:
        page = await self._store.scan(None, "", LISTED_MAX)
        return [(records.decode(place.record, place.ref.operation), place.has_result) for place in page.places]


@contextlib.contextmanager
def quiet_log() -> Iterator[Log]:
    """A log that nobody reads."""
    fd = os.open(os.devnull, os.O_WRONLY)
    try:
        yield Log(fd, level="error")
    finally:
        os.close(fd)


def _state(record: Record, has_result: bool) -> State:
    match record:
        case InFlight():
            return "in-flight"
        case Unknown():
            return "unknown"
        case Completed():
            return "completed" if has_result else "tombstone"
        case Free():
            return "free"
        case Alias():
            return "alias"
