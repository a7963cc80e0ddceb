"""The Redis store when its server is full, forgets scripts, or holds what is not ours."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from ledger.key import Ref
from ledger.store import Present, StoreUnavailable, UnfitStore, Written
from ledger.stores.redis import RedisStore
from tests.ledger.redis_bench import DUE, RECORD, REPLY, both_loops, relayed, store_on, works
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, eventually, put, there

DESCRIPTORS = Path("/proc/self/fd")


@pytest.mark.fault(39)
async def test_scripts_flushed_are_loaded_again(redis: RedisServer) -> None:
    """NOSCRIPT ran nothing, so the same call is repeated; a hundred at once load each script once."""
    async with relayed(redis) as (store, relay):
        await put(store, a_ref("op_0"), a_write())
        redis.ask("SCRIPT", "FLUSH")
        relay.sent.clear()
        answers = await asyncio.gather(*(store.swap(a_ref(f"op_{i}"), None, a_write()) for i in range(1, 101)))
        assert answers == [Written()] * 100
        assert relay.sent.count(b"\r\nLOAD\r\n") == 1


@pytest.mark.fault(44)
async def test_server_out_of_memory_refuses_claims_and_takes_settles(redis: RedisServer) -> None:
    """Nothing new is begun in a full server, but what is under way keeps its lease, its joiners and its result."""
    async with store_on(redis.url) as store:
        claim, done = a_write(), a_write("completed", result=b"reply" * 100, result_ms=60_000, forget_ms=90_000)
        await put(store, a_ref(), claim)
        redis.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await store.swap(a_ref("op_2"), None, a_write())
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await store.swap(Ref("acme/new", "op_3"), None, a_write())
        assert await store.renew(a_ref(), claim.version, 30_000) is True
        watched = await store.watch(a_ref())
        assert watched is not None
        assert await store.swap(a_ref(), claim.version, done) == Written()
        assert await store.read(a_ref()) == Present(done.version, done.record, b"reply" * 100, None)
        assert redis.ask("EXISTS", RECORD.replace("op_1", "op_2")) == 0
        redis.ask("CONFIG", "SET", "maxmemory", 0)
        assert await store.swap(a_ref("op_2"), None, a_write()) == Written()


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "foreign",
    [
        ("SET", RECORD, "a string"),
        ("HSET", RECORD, "some", "hash"),
        ("HSET", RECORD, "operation", "op_2", "version", "v", "phase", "completed", "record", "another's"),
        ("HSET", RECORD, "operation", "op_1", "version", "v"),
        ("HSET", RECORD, "operation", "op_1", "version", "v", "phase", "completed"),
        ("RPUSH", RECORD, "a list"),
    ],
    ids=["string", "foreign-hash", "other-operation", "no-phase", "no-record", "list"],
)
async def test_foreign_value_at_a_record_is_never_taken_for_absent(
    redis: RedisServer, foreign: tuple[str, ...]
) -> None:
    """Whatever stands at an operation's place that is not its record: no claim, no read, and it stays as it is."""
    async with store_on(redis.url) as store:
        redis.ask(*foreign)
        before = redis.ask("DUMP", RECORD)
        for call in (store.swap(a_ref(), None, a_write()), store.read(a_ref()), store.watch(a_ref())):
            with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
                await call
        assert redis.ask("DUMP", RECORD) == before or foreign[-2] == "phase"
        assert redis.ask("EXISTS", DUE) == 0


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    "foreign",
    [
        ("SET", REPLY, "a string"),
        ("HSET", REPLY, "operation", "op_2", "reply", "another's"),
        ("HSET", REPLY, "version", "v_other"),
    ],
    ids=["string", "other-operation", "other-version"],
)
async def test_foreign_value_at_a_reply_is_never_replayed(redis: RedisServer, foreign: tuple[str, ...]) -> None:
    """Nobody gets another operation's reply, nor is a reply that cannot be trusted taken for past its retention."""
    async with store_on(redis.url) as store:
        done = a_write("completed", result=b"mine", result_ms=60_000)
        await put(store, a_ref(), a_write(), done)
        if foreign[0] == "SET":
            redis.ask("DEL", REPLY)
        redis.ask(*foreign)
        for call in (store.read(a_ref()), store.swap(a_ref(), None, a_write())):
            with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
                await call


@pytest.mark.fault(47)
async def test_write_that_meets_something_foreign_leaves_nothing_half_written(redis: RedisServer) -> None:
    """Record, result and indexes change together or not at all, also when one of their keys is another's."""
    async with store_on(redis.url) as store:
        claim = a_write(lease_ms=1)
        await put(store, a_ref(), claim)
        redis.ask("SET", REPLY, "another's")
        redis.ask("SET", "holdfast:{acme/create_ticket}:unknown", "another's")
        for write in (a_write("completed", result=b"r"), a_write("unknown")):
            with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
                await store.swap(a_ref(), claim.version, write)
        assert (await there(store, a_ref())).version == claim.version
        await eventually(partial(_is_due, store))
        redis.ask("SET", DUE, "another's")
        with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
            await store.swap(a_ref("op_2"), None, a_write())
        assert await store.read(a_ref("op_2")) is None


async def _is_due(store: RedisStore) -> bool:
    return await store.due(10) == [a_ref()]


async def test_retention_and_remembering_are_left_to_the_server(redis: RedisServer) -> None:
    """A crash of everything of ours leaves nothing behind for ever: every key of a settled call has its end."""
    async with store_on(redis.url) as store:
        done = a_write("completed", result=b"r", result_ms=50_000, forget_ms=90_000)
        await put(store, a_ref(), a_write(), done)
        assert 0 < redis.ask("PTTL", REPLY) <= 50_000
        assert 50_000 < redis.ask("PTTL", RECORD) <= 90_000
        outlasting = a_write("completed", result=b"r", result_ms=90_000, forget_ms=50_000)
        await put(store, a_ref(), outlasting)
        assert 0 < redis.ask("PTTL", REPLY) <= 50_000
        keys = {b"holdfast:scopes", RECORD.encode(), REPLY.encode()}
        assert set(redis.ask("KEYS", "*")) == keys


@both_loops
async def test_closed_store_leaves_no_task_and_no_descriptor_behind(redis: RedisServer) -> None:
    """Whatever befell it: lost connections, watches, cancelled calls, a failed start (invariant I8)."""
    async with store_on(redis.url):
        pass  # what the loop opens at first use, once, is its own
    tasks, descriptors = len(asyncio.all_tasks()), len(list(DESCRIPTORS.iterdir()))
    for _ in range(3):
        async with store_on(redis.url) as store:
            await store.watch(a_ref())
            await put(store, a_ref(), a_write())
            redis.ask("CLIENT", "KILL", "TYPE", "normal")
            redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
            reading = asyncio.ensure_future(store.read(a_ref()))
            await asyncio.sleep(0)
            reading.cancel()
            await eventually(partial(works, store))
    redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(UnfitStore):
        await RedisStore(redis.url).start()

    async def as_before() -> bool:
        return (len(asyncio.all_tasks()), len(list(DESCRIPTORS.iterdir()))) == (tasks, descriptors)

    await eventually(as_before)


async def test_store_that_was_not_started_is_unavailable() -> None:
    """A call before `start` says so at once."""
    with pytest.raises(StoreUnavailable, match="not started"):
        await RedisStore("redis://127.0.0.1:1").swap(a_ref(), None, a_write())
