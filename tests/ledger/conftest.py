"""The stores that the contract is tested on: `store_factories` has one entry a store, and tests ask for `bench`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from ledger.store import Store
from ledger.stores.memory import MemoryStore
from ledger.stores.redis import RedisStore
from ledger.stores.sqlite import SqliteStore
from tests.ledger.redis_server import RedisServer, running
from tests.ledger.store_bench import SteppedClock, StoreBench, eventually
from tests.redis_server import any_server, system_server


class SteppedBench:
    """A store of one process, whose clock is the test's."""

    def __init__(self, store: Store, clock: SteppedClock, wipe: Callable[[], Awaitable[None]]) -> None:
        self.store = store
        self.peer = store
        self._clock = clock
        self._wipe = wipe

    async def wipe(self) -> None:
        """See `StoreBench.wipe`."""
        await self._wipe()

    async def pass_ms(self, ms: int) -> None:
        """Move the clock."""
        self._clock.now_ms += ms


@contextlib.asynccontextmanager
async def memory_bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    """Yield a memory store in virtual time."""
    clock = SteppedClock()
    store = MemoryStore(clock)
    await store.start()

    async def wipe() -> None:
        store.wipe()

    yield SteppedBench(store, clock, wipe)
    await store.close()


class RedisBench:
    """Two stores on one server, whose clock nobody can move."""

    def __init__(self, server: RedisServer) -> None:
        self.store = RedisStore(server.url, deadline_ms=10_000)
        self.peer = RedisStore(server.url, deadline_ms=10_000)
        self._server = server

    async def wipe(self) -> None:
        """See `StoreBench.wipe`."""
        self._server.ask("FLUSHALL")

    async def pass_ms(self, ms: int) -> None:
        """Return when the server's clock has gone on."""
        until_us = self._server_us() + ms * 1000

        async def passed() -> bool:
            return self._server_us() > until_us

        await eventually(passed)

    def _server_us(self) -> int:
        seconds, microseconds = self._server.ask("TIME")
        return int(seconds) * 1_000_000 + int(microseconds)


@contextlib.asynccontextmanager
async def redis_bench(request: pytest.FixtureRequest, shared: str = "shared_redis") -> AsyncIterator[StoreBench]:
    """Yield two stores on an emptied server."""
    server: RedisServer = request.getfixturevalue(shared)
    server.ask("FLUSHALL")
    bench = RedisBench(server)
    await bench.store.start()
    await bench.peer.start()
    yield bench
    await bench.store.close()
    await bench.peer.close()


def system_redis_bench(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[StoreBench]:
    """Return the same on Debian's Redis."""
    return redis_bench(request, "shared_system_redis")


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for all tests that leave it whole."""
    with running(any_server()) as server:
        yield server


@pytest.fixture(scope="session")
def shared_system_redis() -> Iterator[RedisServer]:
    """The same, Debian's."""
    with running(system_server()) as server:
        yield server


REDIS_KINDS = ["redis", pytest.param("system-redis", marks=pytest.mark.system)]
"""The server that the environment brings, and Debian's."""


@pytest.fixture(params=REDIS_KINDS)
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the test's own, to be stopped, frozen and misconfigured."""
    with running(any_server() if request.param == "redis" else system_server()) as server:
        yield server


@contextlib.asynccontextmanager
async def sqlite_bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    """Yield a SQLite store on a file of its own, in virtual time."""
    clock = SteppedClock()
    folder: Path = request.getfixturevalue("tmp_path")
    store = SqliteStore(str(folder / "ledger.db"), deadline_ms=20_000, clock=clock)
    await store.start()

    async def wipe() -> None:
        await store.close()
        (folder / "ledger.db").unlink()
        await store.start()

    yield SteppedBench(store, clock, wipe)
    await store.close()


StoreFactory = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[StoreBench]]

store_factories: dict[str, StoreFactory] = {
    "memory": memory_bench,
    "sqlite": sqlite_bench,
    "redis": redis_bench,
    "system-redis": system_redis_bench,
}
"""A store joins the contract tests by an entry. Its factory may ask `request` for fixtures (`tmp_path`, a server)."""


@pytest_asyncio.fixture(params=["memory", "sqlite", *REDIS_KINDS])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    """Each store in turn, started and empty."""
    async with store_factories[request.param](request) as opened:
        yield opened
