"""A server whose memory goes back is found out, whatever took it back, and everybody refuses until it is over."""

from __future__ import annotations

from functools import partial

import pytest

from ledger.store import Beat, StoreUnavailable, Written
from ledger.stores.redis import RedisStore
from tests.ledger.redis_bench import RECORD, SHORT_MS, relayed, store_on, works
from tests.ledger.redis_server import RedisServer, running
from tests.ledger.store_bench import a_ref, a_write, eventually, put
from tests.redis_server import any_server, held_port

REFUSE_MS = 60_000
COUNT = "holdfast:{memory}:beats:p_1"
REFUSAL = "holdfast:{memory}:refusal"


async def beats(store: RedisStore, number: int, process: str = "p_1") -> int:
    """Beat so many times from the beginning, and return what was acknowledged in the end."""
    acknowledged = 0
    for _ in range(number):
        beat = await store.beat(process, acknowledged, REFUSE_MS)
        assert beat == Beat(acknowledged + 1, 0)
        acknowledged = beat.count
    return acknowledged


async def refusing(store: RedisStore, process: str, acknowledged: int) -> bool:
    """Say whether a beat is told to refuse, for up to the usual time."""
    beat = await store.beat(process, acknowledged, REFUSE_MS)
    assert beat.refusing_ms <= REFUSE_MS
    return beat.refusing_ms > REFUSE_MS / 2


@pytest.mark.fault(45)
async def test_restart_from_an_old_snapshot_is_noticed_by_the_next_beat_of_any_process(redis: RedisServer) -> None:
    """The snapshot has a count, but a lower one. Who never beat before is told to refuse as well, until an operator
    accepts the loss."""
    async with store_on(redis.url, SHORT_MS) as mine, store_on(redis.url) as other:
        acknowledged = await beats(mine, 3)
        redis.ask("SAVE")
        acknowledged = (await mine.beat("p_1", acknowledged, REFUSE_MS)).count
        redis.kill()
        redis.start()
        await eventually(partial(works, other))
        await eventually(partial(works, mine))  # it gave its own claims time to give up first
        assert await refusing(mine, "p_1", acknowledged)
        assert await refusing(other, "p_2", 0)
        await other.accept()
        for store, process in ((mine, "p_3"), (other, "p_2")):
            assert (await store.beat(process, 0, REFUSE_MS)).refusing_ms == 0


@pytest.mark.fault(45)
async def test_flush_is_noticed_and_a_second_one_that_takes_the_refusal_with_it_too(redis: RedisServer) -> None:
    """The refusal is a key like any other; but without it, the counts are gone as well."""
    async with store_on(redis.url) as store:
        acknowledged = await beats(store, 3)
        for _ in range(2):
            redis.ask("FLUSHALL")
            beat = await store.beat("p_1", acknowledged, REFUSE_MS)
            assert beat.count == 1
            assert beat.refusing_ms > 0
            acknowledged = beat.count
        assert await refusing(store, "p_1", acknowledged)


@pytest.mark.fault(45)
async def test_refusal_survives_a_restart_that_keeps_it(redis: RedisServer) -> None:
    """It ends by the server's clock, not with the server's process."""
    async with store_on(redis.url, SHORT_MS) as store:
        await beats(store, 2)
        redis.ask("FLUSHALL")
        assert await refusing(store, "p_1", 2)
        redis.ask("SAVE")
        redis.kill()
        redis.start()
        await eventually(partial(works, store))
        assert await refusing(store, "p_2", 0)


@pytest.mark.fault(41, 45)
async def test_failover_to_a_replica_that_is_behind_lets_nothing_be_claimed_before_it_is_noticed(
    redis: RedisServer,
) -> None:
    """A claim that met the old primary would be repeated on the new one, before the next beat: it is refused by the
    count that the connection itself compares, and so are later ones. Settlements pass. From the next beat on, refusing
    is the callers' business."""
    with (
        held_port() as port,
        running(any_server(), "--port", str(port)) as primary,
        running(any_server()) as replica,
    ):
        async with relayed(primary, deadline_ms=SHORT_MS) as (store, relay):
            claim = a_write()
            await put(store, a_ref(), claim)
            acknowledged = await beats(store, 2)
            replica.ask("REPLICAOF", "127.0.0.1", port)
            await eventually(partial(_has, replica, acknowledged))
            replica.ask("REPLICAOF", "NO", "ONE")
            acknowledged = (await store.beat("p_1", acknowledged, REFUSE_MS)).count
            relay.server_path = replica.path
            primary.ask("REPLICAOF", "127.0.0.1", 1)
            with pytest.raises(StoreUnavailable, match="given up"):
                await store.swap(a_ref("op_2"), None, a_write())
            await eventually(partial(works, store))
            with pytest.raises(StoreUnavailable, match="lost memory: nothing is claimed for now"):
                await store.swap(a_ref("op_2"), None, a_write())
            assert replica.ask("EXISTS", RECORD.replace("op_1", "op_2")) == 0
            assert await store.swap(a_ref(), claim.version, a_write("completed")) == Written()
            assert await refusing(store, "p_1", acknowledged)
            assert await store.swap(a_ref("op_2"), None, a_write()) == Written()
            assert replica.ask("SMEMBERS", "holdfast:scopes") == {b"acme/create_ticket"}


async def _has(replica: RedisServer, count: int) -> bool:
    return bool(replica.ask("GET", COUNT) == b"%d" % count)


@pytest.mark.fault(45)
async def test_new_connection_to_the_same_memory_holds_nothing_back(redis: RedisServer) -> None:
    """A connection that was lost is no loss of memory, however many beats had no answer."""
    async with relayed(redis) as (store, relay):
        await put(store, a_ref("op_0"), a_write())
        acknowledged = await beats(store, 2)
        relay.cuts = 1
        beat = await store.beat("p_1", acknowledged, REFUSE_MS)
        assert beat.refusing_ms == 0
        assert beat.count > acknowledged + 1
        assert await store.swap(a_ref(), None, a_write()) == Written()


@pytest.mark.fault(44, 45)
async def test_hearts_beat_on_in_a_full_server(redis: RedisServer) -> None:
    """A server that refuses claims still counts, and can still be told to refuse."""
    async with store_on(redis.url) as store:
        acknowledged = await beats(store, 2)
        redis.ask("CONFIG", "SET", "maxmemory", 1)
        assert await store.beat("p_1", acknowledged, REFUSE_MS) == Beat(3, 0)
        redis.ask("FLUSHALL")
        assert await refusing(store, "p_1", 3)


async def test_processes_that_are_gone_leave_nothing_behind(redis: RedisServer) -> None:
    """A count ends some hours after the last beat, a refusal when it is over; the longer of two stands."""
    async with store_on(redis.url) as store:
        await beats(store, 2)
        assert 0 < redis.ask("PTTL", COUNT) <= 12 * 60 * 60 * 1000
        assert (await store.beat("p_1", 9, 90_000)).refusing_ms == 90_000
        assert 60_000 < (await store.beat("p_1", 9, 60_000)).refusing_ms <= 90_000
        assert 60_000 < redis.ask("PTTL", REFUSAL) <= 90_000
        redis.ask("PEXPIRE", REFUSAL, 1)

        async def over() -> bool:
            return (await store.beat("p_2", 0, REFUSE_MS)).refusing_ms == 0

        await eventually(over)


async def test_refusal_set_by_hand_without_an_end_lasts_until_accepted(redis: RedisServer) -> None:
    """An operator who restores a backup may refuse first."""
    async with store_on(redis.url) as store:
        redis.ask("SET", REFUSAL, "restoring the backup of Monday")
        assert await store.beat("p_1", 0, REFUSE_MS) == Beat(1, REFUSE_MS)
        await store.accept()
        assert await store.beat("p_1", 1, REFUSE_MS) == Beat(2, 0)


@pytest.mark.fault(47)
@pytest.mark.parametrize("foreign", [("SET", COUNT, "soon"), ("RPUSH", COUNT, "1")], ids=["string", "list"])
async def test_foreign_value_at_a_count_is_not_taken_for_none(redis: RedisServer, foreign: tuple[str, ...]) -> None:
    """Nor is it overwritten."""
    async with store_on(redis.url) as store:
        redis.ask(*foreign)
        with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
            await store.beat("p_1", 0, REFUSE_MS)
        assert redis.ask("EXISTS", REFUSAL) == 0


async def test_connection_that_dies_while_memory_is_compared_is_opened_again(redis: RedisServer) -> None:
    """What goes wrong then is told as an outage, and passes."""
    async with store_on(redis.url, deadline_ms=SHORT_MS) as store:
        await beats(store, 1)
        redis.ask("DEL", COUNT)
        redis.ask("RPUSH", COUNT, "another's")
        redis.ask("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
            await store.read(a_ref())
        redis.ask("DEL", COUNT)
        await eventually(partial(works, store))
        with pytest.raises(StoreUnavailable, match="lost memory"):
            await store.swap(a_ref(), None, a_write())
