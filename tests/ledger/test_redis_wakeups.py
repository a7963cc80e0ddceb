"""No wake-up is lost in silence: what a broken subscription may have missed, the listener is told of."""

from __future__ import annotations

import asyncio

import pytest

from ledger.store import Written
from tests.ledger.redis_bench import SHORT_MS, both_loops, relayed, store_on
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, eventually, put


@both_loops
async def test_subscription_that_was_lost_is_made_up_for(redis: RedisServer) -> None:
    """Everything watched is told of once the subscription stands again, and messages come through as before."""
    async with store_on(redis.url) as store, store_on(redis.url) as peer:
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        claims = [a_write(), a_write()]
        for index, claim in enumerate(claims):
            await put(store, a_ref(f"op_{index}"), claim)
            await store.watch(a_ref(f"op_{index}"))
        assert told.empty()
        assert redis.ask("CLIENT", "KILL", "TYPE", "pubsub") == 1
        assert [await told.get(), await told.get()] == ["op_0", "op_1"]
        assert told.empty()
        assert await peer.swap(a_ref("op_1"), claims[1].version, a_write("completed")) == Written()
        assert await told.get() == "op_1"


async def test_watch_without_a_subscription_is_told_when_there_is_one(redis: RedisServer) -> None:
    """A server that takes commands but no subscribers does not fail joins; they are woken when it takes them."""
    redis.ask("ACL", "SETUSER", "default", "-subscribe")
    async with store_on(redis.url, deadline_ms=SHORT_MS) as store:
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        claim = a_write()
        await put(store, a_ref(), claim)
        standing = await store.watch(a_ref())
        assert standing is not None
        assert await store.swap(a_ref(), claim.version, a_write("completed")) == Written()
        assert told.empty()
        redis.ask("ACL", "SETUSER", "default", "+subscribe")
        assert await told.get() == "op_1"


async def test_swap_that_nobody_watches_tells_nobody(redis: RedisServer) -> None:
    """A message costs every process a little, so only watched places are published, and one watch means one message."""
    async with store_on(redis.url) as store, store_on(redis.url) as peer:
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        await store.watch(a_ref())
        first, second = a_write(), a_write("completed")
        await put(peer, a_ref(), first)
        await put(peer, a_ref("op_unwatched"), a_write())
        assert await told.get() == "op_1"
        assert await peer.swap(a_ref(), first.version, second) == Written()
        await store.watch(a_ref("op_last"))
        await put(peer, a_ref("op_last"), a_write())
        assert await told.get() == "op_last"


@pytest.mark.fault(2)
async def test_thousand_watches_share_one_subscription(redis: RedisServer) -> None:
    """However many join, the process subscribes once."""
    async with relayed(redis) as (store, relay):
        await put(store, a_ref(), a_write())
        await asyncio.gather(*(store.watch(a_ref(f"op_{index % 10}")) for index in range(1_000)))
        assert relay.opened == 2
        assert relay.sent.count(b"SUBSCRIBE") == 1


async def test_subscription_that_comes_too_late_does_not_hold_the_watch_up(redis: RedisServer) -> None:
    """A watch that finds the way to a subscription blocked gives it half the deadline, and answers from the hot
    connection."""
    async with relayed(redis, deadline_ms=5_000) as (store, relay):
        await put(store, a_ref(), a_write())
        relay.deaf_from = 2
        async with asyncio.timeout(5):
            assert await store.watch(a_ref()) is not None
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        relay.deaf_from = None

        async def told_of_it() -> bool:
            return not told.empty()

        await eventually(told_of_it)
        assert await told.get() == "op_1"
