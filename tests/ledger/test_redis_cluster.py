"""A cluster: each scope with its primary, whoever that is, and nothing of one that is away but its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import redis
from redis.crc import key_slot

from ledger.key import Ref
from ledger.store import Beat, StoreUnavailable, UnfitStore, Written
from ledger.stores.redis import RedisStore
from ledger.stores.redis_cluster import RedisClusterStore
from ledger.stores.redis_fitness import LEDGER
from tests.ledger.redis_bench import SHORT_MS
from tests.ledger.store_bench import a_ref, a_write, eventually, put, there
from tests.ledger.storm import Storm
from tests.redis_server import START_S, any_server, held_port, system_server
from tests.redis_topologies import SLOTS, Cluster, TcpServer, cluster, until

MINUTE = 60_000


@contextlib.asynccontextmanager
async def store_on(nodes: Cluster, deadline_ms: int = 5_000) -> AsyncIterator[RedisClusterStore]:
    """Yield a started store."""
    store = RedisClusterStore(nodes.url, deadline_ms=deadline_ms)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    """Three primaries of the test's own."""
    with cluster(any_server()) as made:
        yield made


@pytest.fixture
def system_nodes() -> Iterator[Cluster]:
    """Three primaries with a replica each, on Debian's Redis."""
    with cluster(system_server(), replicas=True) as made:
        yield made


def _promote(replica: TcpServer) -> None:
    """Return once a replica has become the primary. Where the other primaries' votes are late, it is asked again."""

    def promoted() -> bool:
        return bool(replica.ask("ROLE")[0] == b"master")

    deadline = time.monotonic() + START_S
    while not promoted():
        assert time.monotonic() < deadline
        with contextlib.suppress(redis.ResponseError):
            replica.ask("CLUSTER", "FAILOVER")
        with contextlib.suppress(AssertionError):
            until(promoted, "the replica is promoted", within_s=6)  # an attempt has five seconds, says Redis


async def answers(store: RedisClusterStore, ref: Ref) -> bool:
    """Say whether the store can read there."""
    try:
        await store.read(ref)
    except StoreUnavailable:
        return False
    return True


async def test_each_scope_lies_with_the_primary_of_its_slot(nodes: Cluster) -> None:
    """Every key of a scope, its entry in a registry and a heartbeat are on one primary; another process finds all."""
    async with store_on(nodes) as store, store_on(nodes) as peer:
        refs = [Ref(nodes.scope_at(primary), "op_1") for primary in nodes.primaries]
        for ref in refs:
            await put(store, ref, a_write("unknown", lease_ms=1))
        assert await store.beat("p_1", 0, MINUTE) == Beat(1, 0)
        for ref, primary in zip(refs, nodes.primaries, strict=True):
            keys = sorted(key.decode() for key in primary.ask("KEYS", "*"))
            assert [key for key in keys if f"{{{ref.scope}}}" in key] == [
                f"holdfast:{{{ref.scope}}}:{key}" for key in ("due", "record:op_1", "unknown")
            ]
            assert len([key for key in keys if ":beats:" in key or ":scopes" in key]) == 2

        async def all_due() -> bool:
            return set(await peer.due(10)) == set(refs)

        await eventually(all_due)
        assert {count.scope for count in await peer.unknowns()} == {ref.scope for ref in refs}


@pytest.mark.fault(40)
async def test_slot_that_moves_is_followed_with_its_records_and_its_registry(nodes: Cluster) -> None:
    """MOVED: the call is repeated where the slot is by now, and a sweep finds there what lapsed."""
    source, target = nodes.primaries[:2]
    async with store_on(nodes) as store:
        ref = Ref(nodes.scope_at(source), "op_1")
        claim = a_write(lease_ms=1)
        await put(store, ref, claim)
        await asyncio.to_thread(_move, nodes, ref.scope, source, target)
        assert (await there(store, ref)).version == claim.version
        later = Ref(ref.scope, "op_2")
        assert await store.swap(later, None, a_write()) == Written()
        assert target.ask("EXISTS", f"holdfast:{{{ref.scope}}}:record:op_2") == 1
    async with store_on(nodes) as newcomer:

        async def due() -> bool:
            return await newcomer.due(10) == [ref]

        await eventually(due)


def _move(nodes: Cluster, scope: str, source: TcpServer, target: TcpServer) -> None:
    slot = key_slot(scope.encode())
    names = {server: server.ask("CLUSTER", "MYID") for server in (source, target)}
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
    keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100)
    source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
    for server in (target, source, *nodes.primaries[2:]):
        server.ask("CLUSTER", "SETSLOT", slot, "NODE", names[target])


@pytest.mark.fault(40)
async def test_slot_on_the_move_is_waited_for_within_the_deadline(nodes: Cluster) -> None:
    """ASK and TRYAGAIN: while a slot's keys are on two nodes nothing is claimed there; once they are on one, it is. A
    caller whose deadline ends before is told why."""
    source, target = nodes.primaries[:2]
    ref = Ref(nodes.scope_at(source), "op_1")
    slot = key_slot(ref.scope.encode())
    async with store_on(nodes, 40_000) as patient, store_on(nodes, 300) as hasty:
        await put(patient, ref, a_write())
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        claim, later = a_write(), Ref(ref.scope, "op_2")
        claiming = asyncio.ensure_future(patient.swap(later, None, claim))
        with pytest.raises(StoreUnavailable, match="given up after 300 ms"):
            await hasty.swap(later, None, a_write())
        assert not claiming.done()
        source.ask("CLUSTER", "SETSLOT", slot, "STABLE")
        assert await claiming == Written()
        assert (await there(patient, later)).version == claim.version


@pytest.mark.fault(39)
async def test_scripts_flushed_from_one_node_are_loaded_there_again(nodes: Cluster) -> None:
    """Each node has scripts of its own."""
    async with store_on(nodes) as store:
        for primary in nodes.primaries:
            primary.ask("SCRIPT", "FLUSH")
            assert await store.swap(Ref(nodes.scope_at(primary), "op_1"), None, a_write()) == Written()


async def test_wake_up_comes_from_whichever_node_the_swap_was_at(nodes: Cluster) -> None:
    """One subscription, at any node, is enough for all; where that node goes, there is another."""
    async with store_on(nodes) as store, store_on(nodes) as peer:
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        for number, primary in enumerate(nodes.primaries):
            ref, claim = Ref(nodes.scope_at(primary), f"op_{number}"), a_write()
            await put(peer, ref, claim)
            await store.watch(ref)
            assert await peer.swap(ref, claim.version, a_write("completed")) == Written()
            assert await told.get() == ref.operation
        assert sum(primary.ask("CLIENT", "KILL", "TYPE", "pubsub") for primary in nodes.primaries) == 1
        assert {await told.get() for _ in nodes.primaries} == {"op_0", "op_1", "op_2"}


@pytest.mark.fault(45)
async def test_memory_of_one_primary_that_goes_back_has_everybody_refuse(nodes: Cluster) -> None:
    """Each primary counts for itself: what one has lost is not hidden by what the others remember."""
    async with store_on(nodes) as store, store_on(nodes) as peer:
        acknowledged = 0
        for _ in range(3):
            acknowledged = (await store.beat("p_1", acknowledged, MINUTE)).count
        nodes.primaries[1].ask("FLUSHALL")
        beat = await store.beat("p_1", acknowledged, MINUTE)
        assert beat.refusing_ms > MINUTE / 2
        assert (await peer.beat("p_2", 0, MINUTE)).refusing_ms > MINUTE / 2
        await peer.accept()
        assert await store.beat("p_1", beat.count, MINUTE) == Beat(beat.count + 1, 0)


@pytest.mark.fault(40)
async def test_primary_that_is_away_takes_its_own_scopes_with_it_and_no_others(nodes: Cluster) -> None:
    """Without a replica nobody steps in: its scopes are unavailable, by name, until it is back; all others go on, with
    new scopes, sweeps, heartbeats and starts. What it had not lost is no loss of memory."""
    dead, *living = nodes.primaries
    async with store_on(nodes, SHORT_MS) as store:
        for primary in nodes.primaries:
            await put(store, Ref(nodes.scope_at(primary), "op_1"), a_write(lease_ms=1))
        acknowledged = (await store.beat("p_1", 0, MINUTE)).count
        dead.ask("SAVE")
        dead.kill()
        gone = Ref(nodes.scope_at(dead), "op_1")
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{dead.port}"):
            await store.swap(gone, None, a_write())
        for primary in living:
            ref = Ref(nodes.scope_at(primary), "op_2")
            assert await store.swap(ref, None, a_write()) == Written()

        async def others_are_swept() -> bool:
            with contextlib.suppress(StoreUnavailable):
                return len(await store.due(10)) == 2
            return False

        await eventually(others_are_swept)
        beat = await store.beat("p_1", acknowledged, MINUTE)
        assert beat.refusing_ms == 0
        async with store_on(nodes, SHORT_MS) as newcomer:
            assert await answers(newcomer, Ref(nodes.scope_at(living[0]), "op_1"))
            assert not await answers(newcomer, gone)
            with pytest.raises(StoreUnavailable):
                await newcomer.scan(None, "", 10)
        dead.start()
        await eventually(partial(answers, store, gone))
        assert (await store.beat("p_1", beat.count, MINUTE)).refusing_ms == 0
        assert await store.read(gone) is not None


async def test_server_that_is_no_cluster_and_node_that_is_given_as_one_are_refused(nodes: Cluster) -> None:
    """Each is told what to give instead; and so is a cluster that may evict, or that only a newer version knows."""
    port = nodes.primaries[0].port
    with pytest.raises(UnfitStore, match=rf"is a node of a cluster: give redis\+cluster://127.0.0.1:{port}"):
        await RedisStore(f"redis://127.0.0.1:{port}").start()
    for primary in nodes.primaries:
        primary.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    store = RedisClusterStore(nodes.url)
    with pytest.raises(UnfitStore, match="may evict claims"):
        await store.start()
    for primary in nodes.primaries:
        primary.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    schema = nodes.primaries[key_slot(LEDGER.key) // (SLOTS // len(nodes.primaries) + 1)]
    schema.ask("SET", LEDGER.key, "2")  # only the node that has the key can tell
    with pytest.raises(UnfitStore, match="has schema 2, this program knows 1"):
        await store.start()
    schema.ask("DEL", LEDGER.key)
    await store.start()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read(a_ref())
    with held_port() as silent, pytest.raises(StoreUnavailable, match="no node of the cluster says"):
        await RedisClusterStore(f"redis+cluster://127.0.0.1:{silent}").start()


@pytest.mark.system
@pytest.mark.fault(40)
async def test_primary_killed_under_load_is_replaced_and_the_other_shards_never_notice(system_nodes: Cluster) -> None:
    """Callers claim and settle on all three shards while one's primary is killed with -9: that shard goes on with its
    replica, and nobody on the others is told of anything. What is lost is found by its settlement."""
    scopes = tuple(system_nodes.scope_at(primary) for primary in system_nodes.primaries)
    async with store_on(system_nodes, SHORT_MS) as store:
        async with Storm(store, callers=18, scopes=scopes) as storm:
            await eventually(partial(storm.settled_more_than, 200))
            system_nodes.primaries[0].kill()
            await eventually(storm.met_an_outage)
            await eventually(partial(answers, store, Ref(scopes[0], "op_probe")))
            await eventually(partial(storm.settled_more_than, storm.settled + 200))
        assert set(storm.outages) == {scopes[0]}
        assert {ref.scope for ref in storm.lost} <= {scopes[0]}


@pytest.mark.system
@pytest.mark.fault(40)
async def test_replica_that_was_promoted_by_hand_is_followed_by_the_calls_under_way(system_nodes: Cluster) -> None:
    """A planned failover loses nothing: claims meet MOVED, and are acquired on the new primary with their versions."""
    primary, replica = system_nodes.primaries[0], system_nodes.replicas[0]
    scope = system_nodes.scope_at(primary)
    async with store_on(system_nodes, 40_000) as store:
        await put(store, Ref(scope, "op_0"), a_write())
        async with Storm(store, callers=10, scopes=(scope,)) as storm:
            await eventually(partial(storm.settled_more_than, 50))
            await asyncio.to_thread(_promote, replica)
            await eventually(partial(storm.settled_more_than, storm.settled + 50))
        assert (storm.lost, storm.outages.total()) == ([], 0)
        await storm.check_all_is_kept()
        assert primary.ask("ROLE")[0] == b"slave"
