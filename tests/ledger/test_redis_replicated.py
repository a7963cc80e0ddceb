"""Writes that must be with replicas before they count: a real primary with a real replica."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from msgspec.structs import replace

from ledger.store import EffectWrite, Held, Phase, Present, StoreUnavailable, Write, Written
from tests.ledger.conftest import REDIS_KINDS
from tests.ledger.redis_bench import RECORD, SHORT_MS, relayed, store_on, written
from tests.ledger.redis_server import RedisServer, pair
from tests.ledger.store_bench import a_ref, a_write, eventually, put, there
from tests.redis_server import any_server, system_server


@pytest.fixture(params=REDIS_KINDS)
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and its replica."""
    with pair(any_server() if request.param == "redis" else system_server()) as both:
        yield both


PATIENT_MS = 60_000
"""A deadline that no test comes near: WAIT is given two fifths of it."""


def replicated(phase: Phase = "in_flight", replicas: int = 1, result: bytes | None = None) -> Write:
    """Return a write that so many replicas must have."""
    return replace(a_write(phase, result=result), replicas=replicas)


async def waited_for(primary: RedisServer) -> bool:
    """Say whether a connection of the primary's is in a WAIT."""
    return bool(primary.ask("INFO", "clients")["blocked_clients"] == 1)


@pytest.mark.fault(41)
async def test_write_that_asks_for_a_replica_is_there_when_it_is_answered(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    """A failover to that replica, the next moment, finds the claim."""
    primary, replica = servers
    async with store_on(primary.url) as store:
        claim, done = replicated(), replicated("completed", result=b"201")
        assert await store.swap(a_ref(), None, claim) == Written()
        assert replica.ask("HGET", RECORD, "version") == claim.version.encode()
        assert await store.swap(a_ref(), claim.version, done) == Written()
        assert replica.ask("HGET", RECORD, "version") == done.version.encode()
        assert await store.swap(a_ref(), None, replicated()) == Present(done.version, done.record, b"201", None)
        assert await store.swap(a_ref("op_2"), "v0", replicated()) is None


@pytest.mark.fault(41)
async def test_replica_that_stands_still_keeps_nobody_waiting_but_those_who_ask_for_it(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    """Nothing waits behind a WAIT on the hot connection; it is over as soon as the replica goes on."""
    primary, replica = servers
    async with store_on(primary.url, deadline_ms=PATIENT_MS) as store:
        await put(store, a_ref("op_0"), a_write())
        replica.freeze()
        swaps = [asyncio.ensure_future(store.swap(a_ref(f"op_{n}"), None, replicated())) for n in range(1, 31)]
        await eventually(partial(waited_for, primary))
        for number in range(100, 110):
            assert await store.swap(a_ref(f"op_{number}"), None, a_write()) == Written()
        assert not any(swap.done() for swap in swaps)
        replica.thaw()
        assert await asyncio.gather(*swaps) == [Written()] * 30


@pytest.mark.fault(41)
async def test_replica_that_is_not_there_has_the_write_refused_until_it_is_there_again(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    """The returned count is compared, within the deadline. The same version once more is written as it was, and taken
    once the replica has it."""
    primary, replica = servers
    async with store_on(primary.url) as store:
        await put(store, a_ref("op_0"), a_write())
        replica.freeze()
        claims = [replicated() for _ in range(30)]
        swaps = [store.swap(a_ref(f"op_{n}"), None, claim) for n, claim in enumerate(claims, 1)]
        answers = await asyncio.gather(*swaps, return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert "0 of 1 replicas have the write within 2000 ms" in str(answers[0])
        assert (await there(store, a_ref())).version == claims[0].version
        replica.thaw()
        await eventually(partial(written, store, a_ref(), claims[0]))
        assert replica.ask("HGET", RECORD, "version") == claims[0].version.encode()


@pytest.mark.fault(41)
async def test_repetition_on_another_connection_waits_for_the_first_write(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    """A new connection has written nothing yet, and its WAIT would be over at once: it must not pass for the replica's
    word."""
    primary, replica = servers
    claim = replicated()
    async with store_on(primary.url, deadline_ms=SHORT_MS) as one, store_on(primary.url, deadline_ms=SHORT_MS) as other:
        replica.freeze()
        for store in (one, other, one):
            with pytest.raises(StoreUnavailable, match="0 of 1"):
                await store.swap(a_ref(), None, claim)
        replica.thaw()


@pytest.mark.fault(41)
async def test_more_replicas_than_there_are_is_refused(servers: tuple[RedisServer, RedisServer]) -> None:
    """Who asks for two is told of one; who asks for one at the same time is served."""
    primary, _ = servers
    async with store_on(primary.url) as store:
        one, two = store.swap(a_ref(), None, replicated()), store.swap(a_ref("op_2"), None, replicated(replicas=2))
        answers = await asyncio.gather(one, two, return_exceptions=True)
        assert answers[0] == Written()
        assert "1 of 2 replicas" in str(answers[1])


async def test_writes_that_come_together_are_waited_for_together(servers: tuple[RedisServer, RedisServer]) -> None:
    """A WAIT stalls what follows it, so there is one for all that came while the last was under way."""
    primary, _ = servers
    async with relayed(primary) as (store, relay):
        await store.swap(a_ref("op_0"), None, replicated())
        relay.sent.clear()
        answers = await asyncio.gather(*(store.swap(a_ref(f"op_{n}"), None, replicated()) for n in range(1, 101)))
        assert answers == [Written()] * 100
        assert 1 <= relay.sent.count(b"\r\nWAIT\r\n") <= 3


@pytest.mark.fault(37, 39, 41)
async def test_replicated_write_survives_a_lost_connection_and_forgotten_scripts(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    """It is sent again with its version, and waited for then."""
    primary, replica = servers
    async with relayed(primary) as (store, relay):
        await store.swap(a_ref("op_0"), None, replicated())
        relay.cuts = 1
        claim = replicated()
        assert await store.swap(a_ref(), None, claim) == Written()
        assert relay.sent.count(claim.version.encode()) == 2
        primary.ask("SCRIPT", "FLUSH")
        done = replicated("completed")
        assert await store.swap(a_ref(), claim.version, done) == Written()
        assert replica.ask("HGET", RECORD, "version") == done.version.encode()


async def test_effect_key_is_with_the_replica_too(servers: tuple[RedisServer, RedisServer]) -> None:
    """Who claims is told of the holder over this connection as over the other; errors are told the same."""
    primary, replica = servers
    effect = EffectWrite("refund 7", "claim")
    async with store_on(primary.url) as store:
        claim = replace(replicated(), effect=effect)
        assert await store.swap(a_ref(), None, claim) == Written()
        assert replica.ask("GET", "holdfast:{acme/create_ticket}:effect:refund 7") == b"holdfast op_1"
        met = await store.swap(a_ref("op_2"), None, replace(replicated(), effect=effect))
        assert isinstance(met, Held)
        primary.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="out of memory"):
            await store.swap(a_ref("op_3"), None, replicated())


@pytest.mark.fault(40, 41)
async def test_primary_that_becomes_a_replica_takes_no_replicated_writes(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    """Refused within the deadline while it is one, and taken again afterwards."""
    primary, _ = servers
    async with store_on(primary.url, deadline_ms=SHORT_MS) as store:
        assert await store.swap(a_ref(), None, replicated()) == Written()
        primary.ask("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailable):
            await store.swap(a_ref("op_2"), None, replicated())
        primary.ask("REPLICAOF", "NO", "ONE")
        await eventually(partial(written, store, a_ref("op_3"), replicated()))


async def test_closed_store_leaves_no_task_of_replicated_writes(servers: tuple[RedisServer, RedisServer]) -> None:
    """What is under way at the end is answered or refused, and nothing goes on."""
    primary, replica = servers
    tasks = len(asyncio.all_tasks())
    async with store_on(primary.url, deadline_ms=SHORT_MS) as store:
        assert await store.swap(a_ref(), None, replicated()) == Written()
        replica.freeze()
        swaps = [asyncio.ensure_future(store.swap(a_ref(f"op_{n}"), None, replicated())) for n in range(2, 9)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*swaps, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert len(asyncio.all_tasks()) == tasks
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.swap(a_ref(), None, replicated())
    replica.thaw()
