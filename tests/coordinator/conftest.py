"""The stores that the contract is tested on: `run_factories` has one entry a store, and tests ask for `bench`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from coordinator.store import RunStore
from coordinator.stores.memory import MemoryRunStore
from coordinator.stores.sqlite import SqliteRunStore
from tests.coordinator.run_bench import RunBench
from tests.ledger.store_bench import SteppedClock


class SteppedBench:
    """A store of one process, whose clock is the test's."""

    def __init__(self, store: RunStore, clock: SteppedClock) -> None:
        self.store = store
        self.peer = store
        self._clock = clock

    async def pass_ms(self, ms: int) -> None:
        """Move the clock."""
        self._clock.now_ms += ms


@contextlib.asynccontextmanager
async def memory_bench(request: pytest.FixtureRequest) -> AsyncIterator[RunBench]:
    """Yield a memory store in virtual time."""
    clock = SteppedClock()
    store = MemoryRunStore(clock)
    await store.start()
    yield SteppedBench(store, clock)
    await store.close()


@contextlib.asynccontextmanager
async def sqlite_bench(request: pytest.FixtureRequest) -> AsyncIterator[RunBench]:
    """Yield a SQLite store on a file of its own, in virtual time."""
    clock = SteppedClock()
    folder: Path = request.getfixturevalue("tmp_path")
    store = SqliteRunStore(str(folder / "coordinator.db"), deadline_ms=20_000, clock=clock)
    await store.start()
    yield SteppedBench(store, clock)
    await store.close()


RunFactory = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[RunBench]]

run_factories: dict[str, RunFactory] = {
    "memory": memory_bench,
    "sqlite": sqlite_bench,
}
"""A store joins the contract tests by an entry. Its factory may ask `request` for fixtures (`tmp_path`, a server)."""


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[RunBench]:
    """Each store in turn, started and empty."""
    async with run_factories[request.param](request) as opened:
        yield opened
