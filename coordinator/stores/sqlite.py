"""The SQLite store: one file on a local disk, for one coordinator. The embedded default.

An answered write is on disk, and survives kill -9 and power loss as far as the disk keeps its word; one process owns a
file, a second is refused, and so is a ledger's file (`ledger.stores.sqlite_file`). What a previous owner was at work on
is due, and delivered again, at start. Times are the wall clock's at start, counted on monotonically.

Nothing here touches the file: calls go to the writer's thread (`ledger.stores.sqlite_writer`) and come back in groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.store import Astray, Delivery, Letter, Listener, Page, Put, Standing, Written
from coordinator.stores import cursors
from coordinator.stores.holds import checked
from coordinator.stores.listeners import Listeners
from coordinator.stores.sqlite_tables import RUNS, Change, Look, Tables
from ledger.store import StoreUnavailable
from ledger.stores.clock import Clock, steady_clock
from ledger.stores.sqlite_calls import Calls
from ledger.stores.sqlite_lifetime import closed, opened
from ledger.stores.sqlite_writer import Writer


class SqliteRunStore:
    """Keeps places and results in the file at `path`; the arguments are `ledger.stores.sqlite.SqliteStore`'s."""

    name = "sqlite"

    def __init__(
        self, path: str, *, deadline_ms: int = 1_000, bytes_max: int | None = None, clock: Clock | None = None
    ) -> None:
        self.operations = 0
        self._path = path
        self._deadline_s = deadline_ms / 1_000
        self._bytes_max = bytes_max
        self._clock = clock or steady_clock()
        self._listeners = Listeners()
        self._writer: Writer | None = None
        self._calls: Calls | None = None

    async def start(self) -> None:
        """See `coordinator.store.RunStore.start`. `UnfitStore` names the file and what to do about it."""
        loop = asyncio.get_running_loop()
        writer = Writer(self._path, self._clock, self._bytes_max, RUNS, Tables)
        calls = Calls(self._deadline_s, writer.take, lambda news: self._listeners.tell(loop, news), RUNS)
        await opened(writer, calls, f"the {RUNS.what} {self._path}")
        self._writer, self._calls = writer, calls

    async def close(self) -> None:
        """See `coordinator.store.RunStore.close`: what was asked before is written first."""
        writer, calls = self._writer, self._calls
        self._writer = self._calls = None
        if writer is not None and calls is not None:
            await closed(writer, calls, f"the {RUNS.what} {self._path}")

    async def swap(self, *puts: Put) -> Written | Astray:
        """See `coordinator.store.RunStore.swap`."""
        checked(puts)
        answer: Written | Astray = await self._change(lambda tables, now: tables.places.swap(puts, now))
        return answer

    async def read(self, key: str) -> Standing | None:
        """See `coordinator.store.RunStore.read`."""
        answer: Standing | None = await self._look(lambda tables, now: tables.places.read(key, now))
        return answer

    async def take(self, owner: str, limit: int, visibility_ms: int) -> list[Standing]:
        """See `coordinator.store.RunStore.take`."""
        taking = self._change(lambda tables, now: tables.places.take(owner, limit, visibility_ms, now))
        answer: list[Standing] = await taking
        return answer

    async def renew(self, owner: str, keys: Sequence[str], visibility_ms: int) -> set[str]:
        """See `coordinator.store.RunStore.renew`."""
        renewing = self._change(lambda tables, now: tables.places.renew(owner, keys, visibility_ms, now))
        answer: set[str] = await renewing
        return answer

    async def hurry(self, key: str) -> bool:
        """See `coordinator.store.RunStore.hurry`."""
        answer: bool = await self._change(lambda tables, now: tables.places.hurry(key, now))
        return answer

    def listen(self, owner: str, nudged: Listener) -> None:
        """See `coordinator.store.RunStore.listen`."""
        self._listeners.add(owner, nudged)

    async def scan(self, label: str, cursor: str, limit: int) -> Page:
        """See `coordinator.store.RunStore.scan`."""
        behind = cursors.read(label, cursor)
        answer: Page = await self._look(lambda tables, now: tables.places.scan(label, behind, limit, now))
        return answer

    async def counts(self) -> dict[str, int]:
        """See `coordinator.store.RunStore.counts`."""
        answer: dict[str, int] = await self._look(lambda tables, now: tables.places.counts(now))
        return answer

    async def hear(self, webhook: str, keep_ms: int, key: str) -> bool:
        """See `coordinator.store.RunStore.hear`."""
        answer: bool = await self._change(lambda tables, now: tables.places.hear(webhook, keep_ms, key, now))
        return answer

    async def post(self, entry_id: str, entry: bytes, depth_max: int) -> bool:
        """See `coordinator.store.RunStore.post`."""
        answer: bool = await self._change(lambda tables, _: tables.queue.post(entry_id, entry, depth_max))
        return answer

    async def deliveries(self, consumer: str, limit: int, idle_ms: int) -> list[Delivery]:
        """See `coordinator.store.RunStore.deliveries`."""
        delivering = self._change(lambda tables, now: tables.queue.deliveries(limit, idle_ms, now))
        answer: list[Delivery] = await delivering
        return answer

    async def done(self, ids: Sequence[str]) -> None:
        """See `coordinator.store.RunStore.done`."""
        await self._change(lambda tables, _: tables.queue.done(ids))

    async def depth(self) -> int:
        """See `coordinator.store.RunStore.depth`."""
        answer: int = await self._look(lambda tables, _: tables.queue.depth())
        return answer

    async def bury(self, delivery_id: str, reason: str, detail: str) -> None:
        """See `coordinator.store.RunStore.bury`."""
        await self._change(lambda tables, now: tables.queue.bury(delivery_id, reason, detail, now))

    async def letters(self, cursor: str, limit: int) -> tuple[list[Letter], str]:
        """See `coordinator.store.RunStore.letters`."""
        behind = cursors.read(cursors.LETTERS, cursor) or 0
        answer: tuple[list[Letter], str] = await self._look(lambda tables, _: tables.queue.letters(behind, limit))
        return answer

    async def requeue(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.requeue`."""
        answer: bool = await self._change(lambda tables, _: tables.queue.requeue(letter_id))
        return answer

    async def drop(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.drop`."""
        answer: bool = await self._change(lambda tables, _: tables.queue.drop(letter_id))
        return answer

    def _look(self, call: Callable[[Tables, int], Any]) -> asyncio.Future[Any]:
        return self._ask(Look(call))

    def _change(self, call: Callable[[Tables, int], Any]) -> asyncio.Future[Any]:
        return self._ask(Change(call))

    def _ask(self, work: Look | Change) -> asyncio.Future[Any]:
        if self._calls is None:
            raise StoreUnavailable(f"the SQLite {RUNS.what} is closed")
        self.operations += 1
        return self._calls.ask(work)
