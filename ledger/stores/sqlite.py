"""The SQLite store: one file on a local disk, for one process. The embedded default.

What it promises: an answered write is on disk (write-ahead log, `synchronous = FULL`) and survives kill -9 and power
loss, as far as the disk keeps its word. One process owns a file (`ledger.stores.sqlite_file`), and no other program can
open it meanwhile, not even to read; what a previous owner left in flight falls due at start. Times are the wall clock's
at start, counted on monotonically (`ledger.stores.clock`).

Nothing here touches the file: calls go to the writer's thread (`ledger.stores.sqlite_writer`) and come back in groups.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ledger.key import Ref
from ledger.store import Beat, Held, Listener, Page, Phase, Present, StoreUnavailable, UnknownCount, Write, Written
from ledger.stores import cursors
from ledger.stores.clock import Clock, steady_clock
from ledger.stores.sqlite_calls import Calls
from ledger.stores.sqlite_lifetime import closed, opened
from ledger.stores.sqlite_places import Accept, CountBeat, Due, Read, Renew, Scan, Swap, Unknowns, Work
from ledger.stores.sqlite_writer import Writer
from ledger.stores.watches import Watches


class SqliteStore:
    """Keeps places in the file at `path`.

    deadline_ms  how long a call may take before it fails with `StoreUnavailable`.
    bytes_max    how large the database may grow, so that it cannot fill a disk it shares; None: as large as the disk.
    clock        returns the store's now in milliseconds, in any thread.
    """

    name = "sqlite"

    def __init__(
        self, path: str, *, deadline_ms: int = 1_000, bytes_max: int | None = None, clock: Clock | None = None
    ) -> None:
        self._path = path
        self._deadline_s = deadline_ms / 1_000
        self._bytes_max = bytes_max
        self._clock = clock or steady_clock()
        self._watches = Watches()
        self._writer: Writer | None = None
        self._calls: Calls | None = None

    async def start(self) -> None:
        """See `ledger.store.Store.start`. `UnfitStore` names the file and what to do about it."""
        loop = asyncio.get_running_loop()
        writer = Writer(self._path, self._clock, self._bytes_max)
        calls = Calls(self._deadline_s, writer.take, lambda changed: self._watches.tell(loop, changed))
        await opened(writer, calls, f"the ledger {self._path}")
        self._writer, self._calls = writer, calls

    async def close(self) -> None:
        """See `ledger.store.Store.close`: what was asked before is written first."""
        writer, calls = self._writer, self._calls
        self._writer = self._calls = None
        if writer is not None and calls is not None:
            await closed(writer, calls, f"the ledger {self._path}")

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | Held | None:
        """See `ledger.store.Store.swap`."""
        answer: Written | Present | Held | None = await self._ask(Swap(ref, expected, write))
        return answer

    async def read(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.read`."""
        answer: Present | None = await self._ask(Read(ref))
        return answer

    async def watch(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.watch`."""
        reading = self._ask(Read(ref))
        self._watches.add(ref.operation)  # no swap that this reading misses can be told of before
        answer: Present | None = await reading
        return answer

    def listen(self, listener: Listener) -> None:
        """See `ledger.store.Store.listen`."""
        self._watches.listen(listener)

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """See `ledger.store.Store.renew`."""
        answer: bool = await self._ask(Renew(ref, version, lease_ms))
        return answer

    async def due(self, limit: int) -> list[Ref]:
        """See `ledger.store.Store.due`."""
        answer: list[Ref] = await self._ask(Due(limit))
        return answer

    async def unknowns(self) -> list[UnknownCount]:
        """See `ledger.store.Store.unknowns`."""
        answer: list[UnknownCount] = await self._ask(Unknowns())
        return answer

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """See `ledger.store.Store.scan`."""
        answer: Page = await self._ask(Scan(phase, cursors.read(phase, cursor), limit))
        return answer

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """See `ledger.store.Store.beat`. A file that was replaced while it is open has this process refuse until it is
        started anew: what it wrote from then on would be gone with it."""
        answer: Beat = await self._ask(CountBeat(process, acknowledged, refuse_ms))
        return answer

    async def accept(self) -> None:
        """See `ledger.store.Store.accept`."""
        await self._ask(Accept())

    def _ask(self, work: Work) -> asyncio.Future[Any]:
        if self._calls is None:
            raise StoreUnavailable("the SQLite ledger is closed")
        return self._calls.ask(work)
