"""What a server's failover, loading and stalling leave of the calls under way: each ends in its time, and what was lost
is told by what the next call finds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial

import pytest

from ledger.store import Present, StoreUnavailable, Written
from ledger.stores import redis_link
from ledger.stores.redis import RedisStore
from tests.ledger.redis_bench import RECORD, both_loops, relayed, store_on, works, written
from tests.ledger.redis_relay import Relay
from tests.ledger.redis_server import RedisServer, pair, running
from tests.ledger.store_bench import a_ref, a_write, eventually, put, there
from tests.redis_server import any_server


@contextlib.asynccontextmanager
async def pair_behind_an_address() -> AsyncIterator[tuple[RedisStore, Relay, RedisServer, RedisServer]]:
    """Yield a store, the address that it knows, and the primary there with its replica."""
    with pair(any_server()) as (primary, replica):
        async with relayed(primary) as (store, relay):
            yield store, relay, primary, replica


async def fail_over(relay: Relay, primary: RedisServer, replica: RedisServer) -> None:
    """Promote the replica as it is, have the address lead there, and have the old primary follow somebody else."""
    replica.ask("REPLICAOF", "NO", "ONE")
    relay.server_path = replica.path
    primary.ask("REPLICAOF", "127.0.0.1", 1)
    await relay.hang_up()


@pytest.mark.fault(41)
async def test_claim_that_a_failover_lost_is_found_out_when_it_is_settled() -> None:
    """Nothing stands where the claim stood, and the settlement does not make a record out of nothing."""
    async with pair_behind_an_address() as (store, relay, primary, replica):
        replica.ask("REPLICAOF", "NO", "ONE")
        claim = a_write()
        await put(store, a_ref(), claim)
        await fail_over(relay, primary, replica)
        assert await store.swap(a_ref(), claim.version, a_write("completed", result=b"201")) is None
        assert await store.read(a_ref()) is None


@pytest.mark.fault(42)
async def test_result_that_a_failover_lost_leaves_its_claim_to_lapse() -> None:
    """The new primary knows of the claim alone: its lease lapses there, which makes it unknown; the result can be
    written again over the claim by who still has it."""
    async with pair_behind_an_address() as (store, relay, primary, replica):
        claim, done = a_write(lease_ms=300), a_write("completed", record=b"done", result=b"201", result_ms=60_000)
        await put(store, a_ref(), claim)

        async def replicated() -> bool:
            return bool(replica.ask("EXISTS", RECORD))

        await eventually(replicated)
        replica.ask("REPLICAOF", "NO", "ONE")
        assert await store.swap(a_ref(), claim.version, done) == Written()
        await fail_over(relay, primary, replica)
        assert (await there(store, a_ref())).version == claim.version

        async def due() -> bool:
            return await store.due(10) == [a_ref()]

        await eventually(due)
        assert await store.swap(a_ref(), claim.version, done) == Written()
        assert await store.read(a_ref()) == Present(done.version, b"done", b"201", None)


@both_loops
@pytest.mark.fault(40)
async def test_server_that_is_loading_is_waited_for_within_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOADING ran nothing: a claim that comes meanwhile is a delay where the deadline allows, else it is told why."""
    monkeypatch.setattr(redis_link, "BACKOFF_MAX_S", 0.05)  # so that nobody sleeps for as long as it loads
    slowly = ("--key-load-delay", "2000", "--rdbcompression", "no")  # it answers every 2 MiB that it has loaded
    with running(any_server(), *slowly) as redis:
        async with store_on(redis.url, 30_000) as patient, store_on(redis.url, 150) as hasty:
            await put(patient, a_ref("op_0"), a_write())
            refs = [a_ref(f"op_{n}") for n in range(1, 1_000)]
            await asyncio.gather(*(patient.swap(ref, None, a_write(record=b"r" * 50_000)) for ref in refs))
            redis.ask("SAVE")
            redis.kill()
            starting = asyncio.create_task(asyncio.to_thread(redis.start))
            claim = asyncio.create_task(patient.swap(a_ref("op_late"), None, a_write()))

            async def told_why() -> bool:
                try:
                    await hasty.read(a_ref())
                except StoreUnavailable as error:
                    return "loading" in str(error)
                return False

            await eventually(told_why)
            assert not claim.done()
            await starting
            assert await claim == Written()
            await eventually(partial(works, hasty))


@both_loops
@pytest.mark.fault(46)
async def test_stalled_server_is_not_asked_again_and_again(redis: RedisServer) -> None:
    """Each call ends with its deadline, and once the stall is known calls end without being sent: nothing piles up,
    here or there, for the moment when the server goes on."""
    async with relayed(redis, deadline_ms=300) as (store, relay):
        await eventually(partial(written, store, a_ref("op_0"), a_write()))
        relay.sent.clear()
        tasks = len(asyncio.all_tasks())
        redis.freeze()

        async def claim(number: int) -> None:
            with pytest.raises(StoreUnavailable):
                await store.swap(a_ref(f"op_{number}"), None, a_write())

        async with asyncio.TaskGroup() as group:
            for number in range(1, 101):
                group.create_task(claim(number))
                await asyncio.sleep(0.012)  # in real time, as the deadline is: it is over after 25 of them
        assert relay.sent.count(b"\r\nEVALSHA\r\n") < 50
        redis.thaw()
        await eventually(partial(works, store))

        async def nothing_is_left() -> bool:
            clients = redis.ask("INFO", "clients")["connected_clients"]
            return len(asyncio.all_tasks()) <= tasks + 4 and clients <= 3  # the relay's tasks, of one connection

        await eventually(nothing_is_left)
