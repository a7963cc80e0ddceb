"""Where random histories take place: each store, empty for each example, as two processes see it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Protocol

from ledger.key import Ref
from ledger.store import Store
from ledger.stores.memory import MemoryStore
from ledger.stores.redis import RedisStore
from ledger.stores.sqlite import SqliteStore
from tests.ledger.redis_server import RedisServer
from tests.proxy.elsewhere import Elsewhere
from tests.proxy.virtual import VirtualLoop
from tests.proxy.world import EPOCH_MS


class Ground(Protocol):
    """Where histories take place: a store for each example, seen by two processes, and a way for leases to lapse."""

    def open(self, loop: VirtualLoop) -> tuple[Store, Store]:
        """Return an empty store as each of two processes sees it, not started yet."""

    def lapse(self, ref: Ref, loop: VirtualLoop) -> None:
        """Let the lease at `ref` run out, where virtual time does not do that."""

    def over(self) -> None:
        """The example has ended, and its stores are closed."""


class MemoryGround:
    """In virtual time altogether."""

    def open(self, loop: VirtualLoop) -> tuple[Store, Store]:
        """See `Ground.open`."""
        store = MemoryStore(lambda: EPOCH_MS + round(loop.time() * 1_000))
        return store, store

    def lapse(self, ref: Ref, loop: VirtualLoop) -> None:
        """See `Ground.lapse`."""

    def over(self) -> None:
        """See `Ground.over`."""


class SqliteGround:
    """A file of its own for each example; its leases go by virtual time."""

    def __init__(self, there: asyncio.AbstractEventLoop) -> None:
        self._there = there
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def open(self, loop: VirtualLoop) -> tuple[Store, Store]:
        """See `Ground.open`."""
        self._folder = tempfile.TemporaryDirectory(prefix="histories-")
        path = str(Path(self._folder.name) / "ledger.db")
        store = SqliteStore(path, deadline_ms=20_000, clock=lambda: EPOCH_MS + round(loop.time() * 1_000))
        seen = Elsewhere(store, self._there)
        return seen, seen

    def lapse(self, ref: Ref, loop: VirtualLoop) -> None:
        """See `Ground.lapse`."""

    def over(self) -> None:
        """See `Ground.over`."""
        if self._folder is not None:
            self._folder.cleanup()


class RedisGround:
    """One server, emptied for each example. Its clock is real: a lease lapses because it is made as short as can be."""

    def __init__(self, there: asyncio.AbstractEventLoop, server: RedisServer) -> None:
        self._there = there
        self._server = server
        self._stores: list[Store] = []

    def open(self, loop: VirtualLoop) -> tuple[Store, Store]:
        """See `Ground.open`."""
        self._server.ask("FLUSHALL")
        one, other = (Elsewhere(RedisStore(self._server.url, deadline_ms=10_000), self._there) for _ in range(2))
        self._stores = [one, other]
        return one, other

    def lapse(self, ref: Ref, loop: VirtualLoop) -> None:
        """See `Ground.lapse`."""

        async def lapsed() -> None:
            present = await self._stores[0].read(ref)
            while present is not None and present.lease_left_ms is not None and present.lease_left_ms > 0:
                await self._stores[0].renew(ref, present.version, 1)
                present = await self._stores[0].read(ref)

        loop.run_until_complete(lapsed())

    def over(self) -> None:
        """See `Ground.over`."""
