"""One connection for everybody: replies stay matched to commands, whatever callers and servers do."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from functools import partial

import pytest

from ledger.store import Present, StoreUnavailable, Written
from ledger.stores import redis_link, redis_wire
from ledger.stores.redis_address import address_of
from ledger.stores.redis_url import parse
from tests.ledger.redis_bench import both_loops, relayed, store_on, works
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, eventually, put


@both_loops
@pytest.mark.fault(38)
async def test_cancelled_callers_leave_their_slots_and_others_get_their_own_replies(redis: RedisServer) -> None:
    """Cancelling a call closes nothing: replies stay matched to the calls that are left."""
    async with relayed(redis) as (store, relay):
        for i in range(60):
            await put(store, a_ref(f"op_{i}"), a_write(record=b"%d" % i))
        redis.freeze()
        reads = [asyncio.ensure_future(store.read(a_ref(f"op_{i}"))) for i in range(60)]
        await asyncio.sleep(0)
        for read in reads[::3]:
            read.cancel()
        redis.thaw()
        answers = await asyncio.gather(*reads, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::3])
        left = [(i, answer) for i, answer in enumerate(answers) if i % 3]
        assert [(i, answer.record) for i, answer in left if isinstance(answer, Present)] == [
            (i, b"%d" % i) for i in range(60) if i % 3
        ]
        assert relay.opened == 1


async def test_two_thousand_swaps_at_once_are_all_answered(redis: RedisServer) -> None:
    """A thousand claims of one place and a thousand of as many: one wins the one, each wins its own."""
    async with store_on(redis.url, deadline_ms=20_000) as store:
        one = [store.swap(a_ref(), None, a_write()) for _ in range(1_000)]
        many = [store.swap(a_ref(f"op_x{i}"), None, a_write()) for i in range(1_000)]
        answers = await asyncio.gather(*one, *many)
        assert sum(answer == Written() for answer in answers[:1_000]) == 1
        assert answers[1_000:] == [Written()] * 1_000


@both_loops
@pytest.mark.fault(58)
async def test_event_loop_blocked_longer_than_the_deadline_finds_its_replies(redis: RedisServer) -> None:
    """The server answered in time and it was us who did not look: the replies are taken, the connection stays."""
    async with store_on(redis.url) as patient:
        await put(patient, a_ref(), a_write(record=b"there"))
    async with store_on(redis.url, deadline_ms=200) as store:
        line = store._link._line
        assert line is not None
        redis.freeze()
        reading = asyncio.ensure_future(store.read(a_ref()))
        over = time.monotonic() + 0.3
        for _ in range(3):
            await asyncio.sleep(0)  # until it is sent
        redis.thaw()
        with socket.socket(fileno=os.dup(line._transport.get_extra_info("socket").fileno())) as ours:
            assert select.select([ours], [], [], 30)[0]  # until the reply is there, and nobody looks
        time.sleep(max(0.0, over - time.monotonic()))
        standing = await reading
        assert standing is not None
        assert standing.record == b"there"
        assert store._link._line is line


async def test_more_commands_than_may_be_under_way_are_refused(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that cannot keep up is not asked ever more, neither in number nor in bytes."""
    async with store_on(redis.url) as store:
        await put(store, a_ref(), a_write())
        monkeypatch.setattr(redis_wire, "COMMANDS_MAX", 10)
        redis.freeze()
        reads = [asyncio.ensure_future(store.read(a_ref())) for _ in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="too slow: 10 commands are under way"):
            await store.read(a_ref())
        redis.thaw()
        assert all(await asyncio.gather(*reads))
        monkeypatch.setattr(redis_wire, "BYTES_MAX", 1_000)
        with pytest.raises(StoreUnavailable, match="too slow"):
            await store.swap(a_ref("op_2"), None, a_write(record=b"x" * 1_000))
        assert await store.read(a_ref()) is not None


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$5\r\nabcdefgh\r\n", b":1\r\n" * 3])
async def test_server_that_talks_nonsense_is_unavailable(redis: RedisServer, nonsense: bytes) -> None:
    """Bytes that are not Redis's, or more replies than commands, end the connection: nobody gets what was not his."""
    async with store_on(redis.url) as patient:
        await put(patient, a_ref(), a_write())
    async with relayed(redis, deadline_ms=300) as (store, relay):
        relay.nonsense = nonsense
        results = await asyncio.gather(store.read(a_ref()), store.read(a_ref("op_2")), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        relay.nonsense = b""
        await eventually(partial(works, store))


@both_loops
async def test_peer_that_vanished_is_noticed_while_nobody_waits(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle connection is asked for a sign of life, so that a claim does not pay for finding out."""
    monkeypatch.setattr(redis_link, "HEARTBEAT_S", 0.05)
    async with relayed(redis, deadline_ms=200) as (store, relay):
        relay.deaf_from = 1

        async def given_up_and_opened_anew() -> bool:
            return relay.opened >= 2

        await eventually(given_up_and_opened_anew)
        relay.deaf_from = None
        await eventually(partial(works, store))


@both_loops
async def test_closing_that_is_cancelled_leaves_nothing_open(redis: RedisServer) -> None:
    """A store that is closed while its link is between two connections lets go of both."""
    line = await address_of(parse(redis.url), 1.0).open()
    closing = asyncio.ensure_future(line.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])

    async def let_go() -> bool:
        return not line._connection.is_connected

    await eventually(let_go)
    assert redis.ask("INFO", "clients")["connected_clients"] == 1
