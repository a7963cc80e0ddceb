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
from ledger.stores.open import open_store
from ledger.stores.redis_errors import CLUSTER_RIGHTS, RIGHTS
from ledger.stores.sqlite import SqliteStore
from tests.ledger.redis_server import RedisServer, running
from tests.ledger.store_bench import SteppedClock, StoreBench, eventually
from tests.redis_server import any_server, system_server
from tests.redis_topologies import Cluster, cluster


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
    """Two stores that `url` opens on `servers`, whose clock nobody can move."""

    def __init__(self, url: str, *servers: RedisServer) -> None:
        self.store = open_store(url, deadline_ms=10_000)
        self.peer = open_store(url, deadline_ms=10_000)
        self._servers = servers

    async def wipe(self) -> None:
        """See `StoreBench.wipe`."""
        for server in self._servers:
            server.ask("FLUSHALL")

    async def pass_ms(self, ms: int) -> None:
        """Return when the server's clock has gone on."""
        until_us = self._server_us() + ms * 1000

        async def passed() -> bool:
            return self._server_us() > until_us

        await eventually(passed)

    def _server_us(self) -> int:
        seconds, microseconds = self._servers[0].ask("TIME")
        return int(seconds) * 1_000_000 + int(microseconds)


@contextlib.asynccontextmanager
async def bench_on(url: str, *servers: RedisServer) -> AsyncIterator[StoreBench]:
    """Yield two stores on emptied servers."""
    bench = RedisBench(url, *servers)
    await bench.wipe()
    await bench.store.start()
    await bench.peer.start()
    yield bench
    await bench.store.close()
    await bench.peer.close()


def redis_bench(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[StoreBench]:
    """Return two stores on a server, as a user who has exactly the rights that the documentation names."""
    server: RedisServer = request.getfixturevalue("shared_redis")
    server.ask("ACL", "SETUSER", "holdfast", "reset", "on", ">pw", "resetchannels", *RIGHTS.split())
    return bench_on(f"unix://holdfast:pw@{server.path}", server)


def system_redis_bench(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[StoreBench]:
    """Return the same on Debian's Redis, as its default user."""
    server: RedisServer = request.getfixturevalue("shared_system_redis")
    return bench_on(server.url, server)


def cluster_bench(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[StoreBench]:
    """Return two stores on a cluster of three, as a user who has exactly the rights that the documentation names."""
    nodes: Cluster = request.getfixturevalue("shared_cluster")
    for server in nodes.servers:
        server.ask("ACL", "SETUSER", "holdfast", "reset", "on", ">pw", "resetchannels", *CLUSTER_RIGHTS.split())
    return bench_on(nodes.url.replace("://", "://holdfast:pw@"), *nodes.servers)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """One cluster for all tests that leave it whole."""
    with cluster(any_server()) as nodes:
        yield nodes


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
    "redis-cluster": cluster_bench,
}
"""A store joins the contract tests by an entry. Its factory may ask `request` for fixtures (`tmp_path`, a server)."""


@pytest_asyncio.fixture(params=["memory", "sqlite", *REDIS_KINDS, "redis-cluster"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[StoreBench]:
    """Each store in turn, started and empty."""
    async with store_factories[request.param](request) as opened:
        yield opened
