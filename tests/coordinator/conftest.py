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
from coordinator.stores.open import open_run_store
from coordinator.stores.sqlite import SqliteRunStore
from ledger.stores.redis_errors import CLUSTER_RIGHTS, RIGHTS, RUN_RIGHTS
from tests.coordinator.run_bench import RunBench
from tests.ledger.conftest import REDIS_KINDS, redis, shared_cluster, shared_redis, shared_system_redis
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import SteppedClock, eventually
from tests.redis_topologies import Cluster

__all__ = ["redis", "shared_cluster", "shared_redis", "shared_system_redis"]
"""Servers, which the ledger's tests use as well."""


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


class RedisBench:
    """Two stores that `url` opens on `servers`, whose clock nobody can move."""

    def __init__(self, url: str, *servers: RedisServer) -> None:
        self.store = open_run_store(url, deadline_ms=10_000)
        self.peer = open_run_store(url, deadline_ms=10_000)
        self._servers = servers

    async def pass_ms(self, ms: int) -> None:
        """Return when the server's clock has gone on."""
        until_us = self._server_us() + ms * 1_000

        async def passed() -> bool:
            return self._server_us() > until_us

        await eventually(passed)

    def _server_us(self) -> int:
        seconds, microseconds = self._servers[0].ask("TIME")
        return int(seconds) * 1_000_000 + int(microseconds)


@contextlib.asynccontextmanager
async def bench_on(url: str, *servers: RedisServer) -> AsyncIterator[RunBench]:
    """Yield two stores on emptied servers."""
    for server in servers:
        server.ask("FLUSHALL")
    bench = RedisBench(url, *servers)
    try:
        await bench.store.start()
        await bench.peer.start()
        yield bench
    finally:
        await bench.store.close()
        await bench.peer.close()


def redis_bench(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[RunBench]:
    """Return two stores on a server, as a user who has exactly the rights that the documentation names."""
    server: RedisServer = request.getfixturevalue("shared_redis")
    rights = f"{RIGHTS} {RUN_RIGHTS}".split()
    server.ask("ACL", "SETUSER", "holdfast", "reset", "on", ">pw", "resetchannels", *rights)
    return bench_on(f"unix://holdfast:pw@{server.path}", server)


def system_redis_bench(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[RunBench]:
    """Return the same on Debian's Redis."""
    server: RedisServer = request.getfixturevalue("shared_system_redis")
    rights = f"{RIGHTS} {RUN_RIGHTS}".split()
    server.ask("ACL", "SETUSER", "holdfast", "reset", "on", ">pw", "resetchannels", *rights)
    return bench_on(f"unix://holdfast:pw@{server.path}", server)


def cluster_bench(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[RunBench]:
    """Return two stores on a cluster of three, as a user who has exactly the rights that the documentation names."""
    nodes: Cluster = request.getfixturevalue("shared_cluster")
    rights = f"{CLUSTER_RIGHTS} {RUN_RIGHTS}".split()
    for server in nodes.servers:
        server.ask("ACL", "SETUSER", "holdfast", "reset", "on", ">pw", "resetchannels", *rights)
    return bench_on(nodes.url.replace("://", "://holdfast:pw@"), *nodes.servers)


RunFactory = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[RunBench]]

run_factories: dict[str, RunFactory] = {
    "memory": memory_bench,
    "sqlite": sqlite_bench,
    "redis": redis_bench,
    "system-redis": system_redis_bench,
    "redis-cluster": cluster_bench,
}
"""A store joins the contract tests by an entry. Its factory may ask `request` for fixtures (`tmp_path`, a server)."""


@pytest_asyncio.fixture(params=["memory", "sqlite", *REDIS_KINDS, "redis-cluster"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[RunBench]:
    """Each store in turn, started and empty."""
    async with run_factories[request.param](request) as opened:
        yield opened
