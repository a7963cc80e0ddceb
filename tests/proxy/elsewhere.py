"""A store that lives on a loop of its own, in a thread of its own, and in real time.

So a test in virtual time can use a store whose server or disk answers when it does: its deadlines and heartbeats go by
the real clock, and nothing that the test does to time looks like a stall to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar, cast

from ledger.key import Ref
from ledger.store import Beat, Held, Listener, Page, Phase, Present, Store, UnknownCount, Write, Written
from tests.proxy.virtual import VirtualLoop

T = TypeVar("T")


class Elsewhere:
    """A `Store` that passes each call on to `store`, over there."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self.name = store.name

    async def start(self) -> None:
        """See `ledger.store.Store.start`."""
        await self._there(self._store.start())

    async def close(self) -> None:
        """See `ledger.store.Store.close`."""
        await self._there(self._store.close())

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | Held | None:
        """See `ledger.store.Store.swap`."""
        return await self._there(self._store.swap(ref, expected, write))

    async def read(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.read`."""
        return await self._there(self._store.read(ref))

    async def watch(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.watch`."""
        return await self._there(self._store.watch(ref))

    def listen(self, listener: Listener) -> None:
        """See `ledger.store.Store.listen`; the listener is called over here."""
        here = asyncio.get_running_loop()

        def tell(operation: str) -> None:
            with contextlib.suppress(RuntimeError):  # the test is over, and its loop closed
                here.call_soon_threadsafe(listener, operation)

        self._store.listen(tell)

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """See `ledger.store.Store.renew`."""
        return await self._there(self._store.renew(ref, version, lease_ms))

    async def due(self, limit: int) -> list[Ref]:
        """See `ledger.store.Store.due`."""
        return await self._there(self._store.due(limit))

    async def unknowns(self) -> list[UnknownCount]:
        """See `ledger.store.Store.unknowns`."""
        return await self._there(self._store.unknowns())

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """See `ledger.store.Store.scan`."""
        return await self._there(self._store.scan(phase, cursor, limit))

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """See `ledger.store.Store.beat`."""
        return await self._there(self._store.beat(process, acknowledged, refuse_ms))

    async def accept(self) -> None:
        """See `ledger.store.Store.accept`."""
        await self._there(self._store.accept())

    async def _there(self, call: Coroutine[Any, Any, T]) -> T:
        with cast("VirtualLoop", asyncio.get_running_loop()).outside():
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


@contextlib.contextmanager
def another_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield a loop that runs in another thread, until it is no longer needed."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="elsewhere")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
