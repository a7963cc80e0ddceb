"""Which servers may hold claims, and what is said about those that may."""

from __future__ import annotations

import asyncio

import pytest

from ledger.store import StoreUnavailable, UnfitStore
from ledger.stores.redis import RedisStore
from ledger.stores.redis_errors import RIGHTS
from tests.ledger.redis_bench import store_on
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, put


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_server_that_may_evict_is_refused_with_the_remedy(redis: RedisServer, policy: str) -> None:
    """An evicted claim is a duplicate side effect, so start refuses, whatever the memory limit is."""
    redis.ask("CONFIG", "SET", "maxmemory-policy", policy)
    store = RedisStore(redis.url)
    with pytest.raises(UnfitStore, match=f"{policy}.*set maxmemory-policy noeviction"):
        await store.start()
    redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await store.start()
    await store.close()


async def test_server_that_comes_back_ready_to_evict_gets_no_claims(redis: RedisServer) -> None:
    """Fitness is asked on every connection, not at start alone."""
    async with store_on(redis.url, deadline_ms=200) as store:
        redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        redis.ask("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(StoreUnavailable, match="may evict"):
            await store.swap(a_ref(), None, a_write())
        assert redis.ask("DBSIZE") == 0


async def test_what_persistence_can_lose_is_told_as_warnings(redis: RedisServer) -> None:
    """A started store says what a crash would cost, in sentences for the log."""
    async with store_on(redis.url) as store:
        assert any("appendonly no: a restart loses claims and results" in warning for warning in store.warnings)
    redis.ask("CONFIG", "SET", "appendonly", "yes")
    redis.ask("CONFIG", "SET", "appendfsync", "everysec")
    redis.ask("CONFIG", "SET", "maxmemory", "1gb")
    async with store_on(redis.url) as store:
        assert [warning.partition(": ")[2] for warning in store.warnings] == [
            "appendfsync everysec: a crash of the machine loses up to 1 s of claims and results"
        ]


async def test_user_with_few_rights_can_hold_claims(redis: RedisServer) -> None:
    """What the documentation says that a user needs is enough, without CONFIG; what is missing is told by name."""
    redis.ask("ACL", "SETUSER", "h", "on", ">pw", "resetchannels", *RIGHTS.split())
    async with store_on(f"unix://h:pw@{redis.path}") as store:
        assert any("CONFIG" in warning or "appendonly" in warning for warning in store.warnings)
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        await store.watch(a_ref())
        await put(store, a_ref(), a_write(), a_write("completed", result=b"r", result_ms=60_000))
        assert await told.get() == "op_1"
        assert await store.due(10) == []
        assert await store.unknowns() == []
    redis.ask("ACL", "SETUSER", "h", "resetchannels")
    with pytest.raises(StoreUnavailable, match="does not permit what Holdfast needs"):
        await RedisStore(f"unix://h:pw@{redis.path}").start()
