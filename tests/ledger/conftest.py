"""The stores that the contract is tested on: `store_factories` has one entry a store, and tests ask for `bench`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from ledger.store import Store
from ledger.stores.memory import MemoryStore
from tests.ledger.store_bench import SteppedClock, StoreBench


class SteppedBench:
    """A store of one process, whose clock is the test's."""

    def __init__(self, store: Store, clock: SteppedClock) -> None:
        self.store = store
        self.peer = store
        self._clock = clock

    async def pass_ms(self, ms: int) -> None:
        """Move the clock."""
        self._clock.now_ms += ms


@contextlib.asynccontextmanager
async def memory_bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    """Yield a memory store in virtual time."""
    clock = SteppedClock()
    store = MemoryStore(clock)
    await store.start()
    yield SteppedBench(store, clock)
    await store.close()


StoreFactory = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[StoreBench]]

store_factories: dict[str, StoreFactory] = {
    "memory": memory_bench,
}
"""A store joins the contract tests by an entry. Its factory may ask `request` for fixtures (`tmp_path`, a server)."""


@pytest_asyncio.fixture(params=list(store_factories))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    """Each store in turn, started and empty."""
    async with store_factories[request.param](request) as opened:
        yield opened
