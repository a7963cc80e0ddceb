"""The coordinator's Redis store on a cluster and behind Sentinels: its one slot is followed wherever it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from coordinator.store import Put, Written
from coordinator.stores.redis_cluster import SLOT
from ledger.store import StoreUnavailable
from tests.coordinator.run_bench import LONG_MS, Ear, a_put, put, taken, there
from tests.coordinator.test_redis import store_on
from tests.redis_server import any_server, system_server
from tests.redis_topologies import MASTER, Cluster, TcpServer, Watched, cluster, until, watched

PATIENT_MS = 20_000
"""A deadline that outlasts a failover: calls are repeated by themselves."""


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


@pytest.fixture
def servers() -> Iterator[Watched]:
    """A primary, a replica and three Sentinels of the test's own."""
    with watched(any_server()) as running:
        yield running


def source_of(nodes: Cluster) -> TcpServer:
    """Return the primary that has all keys."""
    return next(server for server in nodes.primaries if server.ask("DBSIZE") > 0)


def move(nodes: Cluster, source: TcpServer, target: TcpServer) -> None:
    """Give the slot, with all that is in it, to another primary."""
    names = {server: server.ask("CLUSTER", "MYID") for server in (source, target)}
    target.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", names[source])
    source.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", names[target])
    keys = source.ask("CLUSTER", "GETKEYSINSLOT", SLOT, 100)
    source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
    for server in (target, source, *(node for node in nodes.primaries if node not in names)):
        server.ask("CLUSTER", "SETSLOT", SLOT, "NODE", names[target])


@pytest.mark.fault(40)
async def test_slot_that_moves_is_followed_with_runs_results_and_nudges(nodes: Cluster) -> None:
    """MOVED: the call is repeated where the slot is by now, and everything is there."""
    async with store_on(nodes.url) as store, store_on(nodes.url) as peer:
        ear = Ear(peer, "a")
        await put(store, first := a_put(label="queued"))
        await store.post("e_1", b"1", 10)
        assert await taken(peer, "a") == ["run_1"]
        source = source_of(nodes)
        target = next(node for node in nodes.primaries if node is not source)
        await asyncio.to_thread(move, nodes, source, target)
        second = a_put(expected=first.version, label="done", owner="a", then="keep", in_ms=LONG_MS)
        assert await store.swap(second) == Written()
        assert (await there(peer)).version == second.version
        assert await store.depth() == 1
        assert [d.id for d in await peer.deliveries("b", 10, LONG_MS)] == ["e_1"]
        assert await store.counts() == {"done": 1}
        assert source.ask("DBSIZE") == 0

        async with asyncio.timeout(10):
            while "run_1" not in ear.heard:  # its subscription follows, too
                await store.hurry("run_1")
                await asyncio.sleep(0.01)


@pytest.mark.fault(40)
async def test_slot_on_the_move_is_waited_for_within_the_deadline(nodes: Cluster) -> None:
    """ASK: while the keys may be on two nodes nothing is read or written; a caller whose deadline ends is told so."""
    async with store_on(nodes.url, PATIENT_MS) as patient, store_on(nodes.url, 300) as hasty:
        await put(patient, first := a_put())
        source = source_of(nodes)
        target = next(node for node in nodes.primaries if node is not source)
        source.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", target.ask("CLUSTER", "MYID"))
        swapping = asyncio.ensure_future(patient.swap(a_put(expected=first.version)))
        with pytest.raises(StoreUnavailable, match="is moving what is asked for"):
            await hasty.read("run_1")
        assert not swapping.done()
        source.ask("CLUSTER", "SETSLOT", SLOT, "STABLE")
        assert await swapping == Written()


@pytest.mark.fault(40)
@pytest.mark.system
async def test_primary_of_the_slot_that_is_killed_is_replaced_by_its_replica(system_nodes: Cluster) -> None:
    """Calls under way wait for the replica, and have the effect of one."""
    async with store_on(system_nodes.url, PATIENT_MS) as store:
        await put(store, a_put("run_0"))
        source = source_of(system_nodes)
        replica = system_nodes.replicas[system_nodes.primaries.index(source)]
        await asyncio.to_thread(until, lambda: replica.ask("DBSIZE") == source.ask("DBSIZE"), "the replica follows")
        source.kill()
        puts = [a_put(f"run_{i}") for i in range(1, 20)]
        assert await asyncio.gather(*(store.swap(one) for one in puts)) == [Written()] * 19
        assert len(await taken(store)) == 20


@pytest.mark.fault(40)
async def test_failover_by_sentinels_is_followed_with_the_calls_under_way(servers: Watched) -> None:
    """The operator moves the primary: swaps that are sent meanwhile stand on the new one, written once."""
    async with store_on(servers.url, PATIENT_MS) as store, store_on(servers.url, PATIENT_MS) as peer:
        before = servers.primary()
        servers.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER)
        puts: list[Put] = [a_put(f"run_{i}") for i in range(20)]
        assert await asyncio.gather(*(store.swap(one) for one in puts)) == [Written()] * 20
        await asyncio.to_thread(until, lambda: servers.primary() is not before, "the Sentinels agree")
        for one in puts:  # those that the old primary took, and the new one had not got, are written now
            assert await store.swap(one) == Written()
            assert (await there(peer, one.key)).version == one.version
        assert len(await taken(peer)) == 20
