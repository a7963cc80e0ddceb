"""Which servers may hold claims, and what is said about those that may."""

from __future__ import annotations

import asyncio
import re

import pytest
from msgspec.structs import replace

from ledger.store import EffectWrite, StoreUnavailable, UnfitStore
from ledger.stores.redis import RedisStore
from ledger.stores.redis_errors import RIGHTS, ErrorReply
from ledger.stores.redis_fitness import LEDGER, Facts, check_layout, judge
from tests.ledger.redis_bench import SHORT_MS, store_on
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
    async with store_on(redis.url, deadline_ms=SHORT_MS) as store:
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
    async with store_on(f"unix://h:pw@{redis.path}", SHORT_MS) as store:
        assert any("CONFIG" in warning or "appendonly" in warning for warning in store.warnings)
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        await store.watch(a_ref())
        await put(store, a_ref(), a_write(), a_write("completed", result=b"r", result_ms=60_000))
        assert await told.get() == "op_1"
        assert await store.due(10) == []
        assert await store.unknowns() == []
        assert [place.ref for place in (await store.scan(None, "", 10)).places] == [a_ref()]
        assert (await store.scan("unknown", "", 10)).places == []
        assert (await store.beat("p_1", 0, 1_000)).count == 1
        await store.accept()
        claim = replace(a_write(), effect=EffectWrite("e", "claim"), replicas=1)
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
            await store.swap(a_ref("op_2"), None, claim)
    redis.ask("ACL", "SETUSER", "h", "resetchannels")
    with pytest.raises(StoreUnavailable, match="does not permit what Holdfast needs"):
        await RedisStore(f"unix://h:pw@{redis.path}").start()


@pytest.mark.fault(60)
@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("2", "has schema 2, this program knows 1: start the version of Holdfast that wrote it, or a newer one"),
        ("soon", "holdfast:schema holds something that Holdfast did not write"),
    ],
)
async def test_ledger_of_a_newer_schema_is_refused(redis: RedisServer, found: str, words: str) -> None:
    """A later version that lays things out so that this one would do harm says so beside them."""
    redis.ask("SET", "holdfast:schema", found)
    with pytest.raises(UnfitStore, match=words):
        await RedisStore(redis.url).start()


@pytest.mark.fault(60)
async def test_schema_that_is_raised_while_one_is_connected_is_met_on_the_next_connection(redis: RedisServer) -> None:
    """And a ledger that says that it is of the present one is as good as one that says nothing."""
    redis.ask("SET", "holdfast:schema", "1")
    async with store_on(redis.url, deadline_ms=SHORT_MS) as store:
        redis.ask("SET", "holdfast:schema", "2")
        redis.ask("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(StoreUnavailable, match="has schema 2"):
            await store.swap(a_ref(), None, a_write())


def test_other_nodes_of_a_cluster_say_nothing_of_the_schema() -> None:
    """The one that has the key does; a reply that says neither is not taken for a yes."""
    check_layout(ErrorReply("MOVED 1234 10.0.0.7:6379"), LEDGER, "db:6379")
    check_layout(ErrorReply("CLUSTERDOWN Hash slot not served"), LEDGER, "db:6379")
    check_layout(None, LEDGER, "db:6379")
    with pytest.raises(StoreUnavailable, match="does not permit"):
        check_layout(ErrorReply("NOPERM this user has no permissions"), LEDGER, "db:6379")


FIT = {
    "redis_version": "7.0.15",
    "redis_mode": "standalone",
    "role": "master",
    "cluster_enabled": "0",
    "loading": "0",
    "maxmemory": "1000000000",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
}


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.0.16"}, "version 6.0.16: Holdfast needs 6.2 or newer"),
        ({"redis_version": "5.0.7"}, "version 5.0.7"),
        ({"redis_mode": "sentinel"}, r"is a Sentinel: give redis\+sentinel://db:6379/NAME"),
        ({"redis_mode": "cluster", "cluster_enabled": "1"}, r"is a node of a cluster: give redis\+cluster://db:6379"),
        ({"role": "slave", "master_host": "10.0.0.7", "master_port": "6379"}, "is a replica: .*primary, 10.0.0.7:6379"),
        ({"maxmemory_policy": "volatile-lru", "maxmemory": "0"}, "may evict claims .maxmemory-policy volatile-lru"),
    ],
    ids=["6.0", "5.0", "sentinel", "cluster", "replica", "evicts"],
)
def test_unfit_server_is_refused_with_the_remedy(info: dict[str, str], words: str) -> None:
    """Each reason not to use a server comes with what to do about it."""
    with pytest.raises(UnfitStore, match=words):
        judge(Facts(FIT | info, {"appendfsync": "always"}), "db:6379")


@pytest.mark.parametrize("version", ["6.2.14", "7.0.15", "7.2.4", "8.0.0-rc1", "10.1.0"])
def test_version_of_6_2_or_newer_is_fit(version: str) -> None:
    """Valkey tells 7.2.4 and its own version beside; numbers are compared as numbers."""
    fit = judge(Facts(FIT | {"redis_version": version}, {"appendfsync": "always"}), "db:6379")
    assert (fit.version, fit.warnings) == (version, ())


def test_server_that_is_loading_is_unavailable_for_now() -> None:
    """Loading passes: worth waiting for, not a reason to give up."""
    with pytest.raises(StoreUnavailable, match="loading"):
        judge(Facts(FIT | {"loading": "1"}, {}), "db:6379")


@pytest.mark.parametrize(
    ("info", "config", "words"),
    [
        ({"aof_enabled": "0"}, {"save": "3600 1"}, "appendonly no: .* back to its last snapshot"),
        ({"aof_enabled": "0"}, {"save": ""}, "appendonly no: .* no snapshots either"),
        ({}, {"appendfsync": "everysec"}, "everysec: a crash of the machine loses up to 1 s"),
        ({}, {"appendfsync": "no"}, "appendfsync no: "),
        ({}, {}, "appendfsync cannot be read"),
        ({"aof_last_write_status": "err"}, {"appendfsync": "always"}, "last write to the append-only file failed"),
        ({"maxmemory": "0"}, {"appendfsync": "always"}, "maxmemory 0"),
    ],
)
def test_what_a_fit_server_can_lose_is_one_warning_each(
    info: dict[str, str], config: dict[str, str], words: str
) -> None:
    """Every way of losing what was acknowledged is said at start, by name of its setting."""
    (warning,) = judge(Facts(FIT | info, config), "db:6379").warnings
    assert re.search(words, warning)
    assert warning.startswith("redis at db:6379: ")
