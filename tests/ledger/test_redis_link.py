"""Connections that are lost, servers that freeze, restart or change, and commands that survive it."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise

import pytest

from ledger.store import Present, StoreUnavailable, Written
from ledger.stores.redis import RedisStore
from ledger.stores.redis_address import address_of
from ledger.stores.redis_link import BACKOFF_BASE_S, Link
from ledger.stores.redis_url import parse
from ledger.stores.redis_wire import Line
from tests.ledger.redis_bench import DUE, SHORT_MS, both_loops, relayed, store_on, works
from tests.ledger.redis_relay import Relay
from tests.ledger.redis_server import RedisServer, running
from tests.ledger.store_bench import a_ref, a_write, eventually, put, there
from tests.redis_server import any_server

ROUNDED_S = 0.002
"""uvloop's timers have milliseconds: one may be over a little early."""


def swaps_sent(relay: Relay, version: str) -> int:
    """Count how often a write was sent."""
    return relay.sent.count(version.encode())


@both_loops
@pytest.mark.fault(36)
async def test_claim_whose_reply_is_lost_is_sent_again_and_written_once(redis: RedisServer) -> None:
    """The connection breaks after the server ran the claim: it goes out again with its version, and is acquired."""
    async with relayed(redis) as (store, relay):
        await put(store, a_ref("op_0"), a_write())
        claim = a_write(record=b"claim", lease_ms=60_000)
        relay.cuts = 1
        assert await store.swap(a_ref(), None, claim) == Written()
        assert swaps_sent(relay, claim.version) == 2
        standing = await there(store, a_ref())
        assert (standing.version, standing.record) == (claim.version, b"claim")
        assert redis.ask("ZCARD", DUE) == 2


@both_loops
@pytest.mark.fault(37)
async def test_settle_whose_reply_is_lost_is_sent_again_and_written_once(redis: RedisServer) -> None:
    """A settle that ran unheard is recognized when it comes again: its result stands, and it is told so."""
    async with relayed(redis) as (store, relay):
        claim, done = a_write(), a_write("completed", record=b"done", result=b"201 Created", result_ms=60_000)
        await put(store, a_ref(), claim)
        relay.cuts = 1
        assert await store.swap(a_ref(), claim.version, done) == Written()
        assert swaps_sent(relay, done.version) == 2
        assert await store.read(a_ref()) == Present(done.version, b"done", b"201 Created", None)


@pytest.mark.fault(36)
async def test_reply_lost_twice_is_unavailable_and_not_sent_a_third_time(redis: RedisServer) -> None:
    """One repetition is a repair, more would be a storm: the caller is told, and the next call works again."""
    async with relayed(redis) as (store, relay):
        await put(store, a_ref("op_0"), a_write())
        claim = a_write()
        relay.cuts = 2
        with pytest.raises(StoreUnavailable, match="lost twice"):
            await store.swap(a_ref(), None, claim)
        assert swaps_sent(relay, claim.version) == 2
        assert (await there(store, a_ref())).version == claim.version


@both_loops
@pytest.mark.fault(46)
async def test_frozen_server_is_unavailable_within_the_deadline_and_recovers(redis: RedisServer) -> None:
    """All who wait are told when the deadline is over, together; nobody hangs, and the store comes back by itself."""
    async with store_on(redis.url, deadline_ms=SHORT_MS) as store:
        await put(store, a_ref("op_0"), a_write())
        redis.freeze()
        claims = [store.swap(a_ref(f"op_{i}"), None, a_write()) for i in range(50)]
        answers = await asyncio.gather(*claims, return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert all(f"no answer within {SHORT_MS} ms" in str(answer) for answer in answers)
        redis.thaw()
        await eventually(partial(works, store))
        assert await store.swap(a_ref("op_later"), None, a_write()) == Written()


@pytest.mark.fault(46)
async def test_frozen_server_does_not_keep_the_store_from_closing(redis: RedisServer) -> None:
    """What is under way at `close` gets the deadline, then `StoreUnavailable`."""
    store = RedisStore(redis.url, deadline_ms=300)
    await store.start()
    redis.freeze()
    reading = asyncio.ensure_future(store.read(a_ref()))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await store.close()
    with pytest.raises(StoreUnavailable):
        await reading
    redis.thaw()


@both_loops
@pytest.mark.fault(34, 39)
async def test_server_killed_and_started_again_is_found_by_itself(redis: RedisServer) -> None:
    """While it is away calls are unavailable, at once after the first deadline; a new server gets our scripts."""
    async with store_on(redis.url, deadline_ms=SHORT_MS) as store:
        await put(store, a_ref(), a_write())
        redis.kill()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.swap(a_ref("op_2"), None, a_write())

        async def refused_at_once() -> bool:
            with pytest.raises(StoreUnavailable) as refused:
                await store.read(a_ref())
            return "given up after" not in str(refused.value)

        await eventually(refused_at_once)
        redis.start()
        await eventually(partial(works, store))
        assert await store.swap(a_ref(), None, a_write()) == Written()
        assert redis.ask("SMEMBERS", "holdfast:scopes") == {b"acme/create_ticket"}


@pytest.mark.fault(34)
async def test_call_in_a_short_outage_waits_for_the_new_connection(redis: RedisServer) -> None:
    """A restart that fits into the deadline is a delay, not a refusal."""
    async with store_on(redis.url, deadline_ms=10_000) as store:
        redis.kill()
        claim = asyncio.ensure_future(store.swap(a_ref(), None, a_write()))
        await asyncio.sleep(0)
        redis.start()
        assert await claim == Written()


@pytest.mark.fault(40)
async def test_primary_that_becomes_a_replica_is_unavailable_until_there_is_a_primary(redis: RedisServer) -> None:
    """READONLY means the wrong server: nothing ran, the store looks for the right one within the deadline."""
    async with store_on(redis.url, deadline_ms=SHORT_MS) as store:
        await put(store, a_ref(), a_write())
        redis.ask("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match="replica"):
            await store.swap(a_ref("op_2"), None, a_write())
        redis.ask("REPLICAOF", "NO", "ONE")
        await eventually(partial(works, store))
        assert await store.swap(a_ref("op_2"), None, a_write()) == Written()


@both_loops
@pytest.mark.fault(40)
async def test_failover_behind_the_address_is_followed_within_the_deadline(redis: RedisServer) -> None:
    """Calls that meet the old primary, now a replica, are repeated on the new one: their callers notice nothing."""
    with running(any_server()) as successor:
        async with relayed(redis) as (store, relay):
            await put(store, a_ref(), a_write())
            redis.ask("REPLICAOF", "127.0.0.1", 1)
            relay.server_path = successor.path
            claims = [store.swap(a_ref(f"op_{i}"), None, a_write()) for i in range(2, 22)]
            assert await asyncio.gather(*claims) == [Written()] * 20
            assert successor.ask("SMEMBERS", "holdfast:scopes") == {b"acme/create_ticket"}


@pytest.mark.fault(49)
async def test_rotated_password_is_unavailable_until_it_is_ours_again(redis: RedisServer) -> None:
    """A password that changes while we run is noticed at the next connection, told to callers, and recovered from."""
    redis.ask("CONFIG", "SET", "requirepass", "first")
    async with store_on(f"unix://:first@{redis.path}", deadline_ms=SHORT_MS) as store:
        redis.ask("CONFIG", "SET", "requirepass", "second", password="first")
        redis.ask("CLIENT", "KILL", "TYPE", "normal", password="second")
        with pytest.raises(StoreUnavailable, match="refuses the user name or the password"):
            await store.read(a_ref())
        redis.ask("CONFIG", "SET", "requirepass", "first", password="second")
        await eventually(partial(works, store))


async def test_attempts_to_connect_come_at_growing_distances() -> None:
    """A fleet whose server is down does not hammer it: each pause is up to twice the one before."""
    loop = asyncio.get_running_loop()
    attempts: list[float] = []
    enough = asyncio.Event()

    async def refuse() -> Line:
        attempts.append(loop.time())
        if len(attempts) == 5:
            enough.set()
        raise StoreUnavailable("redis at nowhere cannot be reached")

    link = Link(refuse, 0.1, jitter=lambda: 1.0)
    link.keep()
    await enough.wait()
    with pytest.raises(StoreUnavailable, match="nowhere"):
        await link.call(b"")
    await link.close()
    pauses = [after - before for before, after in pairwise(attempts)]
    assert all(pause >= BACKOFF_BASE_S * 2**number - ROUNDED_S for number, pause in enumerate(pauses))


async def test_connection_that_dies_young_is_not_opened_at_once_again(redis: RedisServer) -> None:
    """A server that takes connections and drops them is backed off from like one that takes none."""
    loop = asyncio.get_running_loop()
    opened: list[float] = []
    enough = asyncio.Event()
    address = address_of(parse(redis.url), 1.0)

    async def open_and_lose() -> Line:
        line = await address.open()
        opened.append(loop.time())
        loop.call_soon(line.drop, "gone again")
        if len(opened) == 5:
            enough.set()
        return line

    link = Link(open_and_lose, 1.0, jitter=lambda: 1.0)
    link.keep()
    await enough.wait()
    await link.close()
    assert opened[-1] - opened[0] >= BACKOFF_BASE_S * (1 + 2 + 4 + 8) - 4 * ROUNDED_S
