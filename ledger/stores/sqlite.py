"""The SQLite store: one file on a local disk, for one process. The embedded default.

What it promises: an answered write is on disk (write-ahead log, `synchronous = FULL`) and survives kill -9 and power
loss, as far as the disk keeps its word. One process owns a file (`ledger.stores.sqlite_file`), and no other program can
open it meanwhile, not even to read; what a previous owner left in flight falls due at start. Times are the wall clock's
at start, counted on monotonically (`ledger.stores.clock`).

Nothing here touches the file: calls go to the writer's thread (`ledger.stores.sqlite_writer`) and come back in groups.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from ledger.key import Ref
from ledger.store import Listener, Present, StoreUnavailable, UnknownCount, Write, Written
from ledger.stores.clock import Clock, steady_clock
from ledger.stores.sqlite_places import Answer, Due, Read, Renew, Swap, Unknowns, Work
from ledger.stores.sqlite_writer import Waiting, Writer
from ledger.stores.watches import Watches

WAITING_MAX = 8_192
"""Calls in the queue; a quarter of a second's work, so what is let in can be answered within the deadline."""
START_S = 30.0
"""Opening may have to recover a log and check a file: longer than a call may take, and bounded all the same."""
CLOSE_S = 10.0
"""Writing what waits and folding the log in; past this the disk hangs, and the log is recovered at the next start."""


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
        self._writer: Writer | None = None
        self._watches = Watches()
        self._waiting: deque[Waiting] = deque()
        self._watchdog: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """See `ledger.store.Store.start`. `UnfitStore` names the file and what to do about it."""
        self._loop = asyncio.get_running_loop()
        writer = Writer(self._path, self._clock, self._bytes_max, self._deliver)
        self._answered = writer.answered
        try:
            async with asyncio.timeout(START_S):
                await writer.open()
        except BaseException as error:
            writer.waiting.put(None)  # should it open after all, it lets go again
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(f"the ledger {self._path} did not open within {START_S:.0f} s") from None
            raise
        self._writer = writer

    async def close(self) -> None:
        """See `ledger.store.Store.close`: what waits is written first."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.waiting.put(None)
        try:
            async with asyncio.timeout(CLOSE_S):
                await writer.ended.wait()
        except TimeoutError:
            raise StoreUnavailable(f"the ledger {self._path} did not close within {CLOSE_S:.0f} s") from None
        finally:
            self._deliver()

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | None:
        """See `ledger.store.Store.swap`."""
        return cast("Written | Present | None", await self._ask(Swap(ref, expected, write)))

    async def read(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.read`."""
        return cast("Present | None", await self._ask(Read(ref)))

    async def watch(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.watch`."""
        reading = self._ask(Read(ref))
        self._watches.add(ref.operation)
        return cast("Present | None", await reading)

    def listen(self, listener: Listener) -> None:
        """See `ledger.store.Store.listen`."""
        self._watches.listen(listener)

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """See `ledger.store.Store.renew`."""
        return cast("bool", await self._ask(Renew(ref, version, lease_ms)))

    async def due(self, limit: int) -> list[Ref]:
        """See `ledger.store.Store.due`."""
        return cast("list[Ref]", await self._ask(Due(limit)))

    async def unknowns(self) -> list[UnknownCount]:
        """See `ledger.store.Store.unknowns`."""
        return cast("list[UnknownCount]", await self._ask(Unknowns()))

    def _ask(self, work: Work) -> asyncio.Future[Answer]:
        writer = self._writer
        if writer is None:
            raise StoreUnavailable("the SQLite ledger is closed")
        if writer.waiting.qsize() >= WAITING_MAX:
            raise StoreUnavailable(f"the SQLite ledger is overloaded: {WAITING_MAX} calls wait already")
        future: asyncio.Future[Answer] = self._loop.create_future()
        call = Waiting(work, future, self._loop.time())
        self._waiting.append(call)
        writer.waiting.put(call)
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._deadline_s, self._watch_over)
        return future

    def _deliver(self) -> None:
        """Hand out the answers that are there."""
        while self._answered:
            group = self._answered.popleft()
            for call in group.calls:
                future = call.future
                if future.done():
                    continue
                answer = call.answer
                if isinstance(answer, StoreUnavailable):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            self._watches.tell(self._loop, group.changed)
        while self._waiting and self._waiting[0].future.done():
            self._waiting.popleft()

    def _watch_over(self) -> None:
        """Fail the calls that have waited for the whole deadline: one timer for all of them, not one each."""
        self._deliver()  # the loop itself may have been the slow one: what is answered counts
        limit_s = self._loop.time() - self._deadline_s
        while self._waiting and self._waiting[0].since_s <= limit_s:
            call = self._waiting.popleft()
            call.work = None  # not begun, it never will be; and what it carries is let go
            if not call.future.done():
                text = f"the SQLite ledger did not answer within {self._deadline_s * 1000:.0f} ms"
                call.future.set_exception(StoreUnavailable(text))
        if self._waiting:
            after = self._waiting[0].since_s + self._deadline_s
            self._watchdog = self._loop.call_at(after, self._watch_over)
        else:
            self._watchdog = None
