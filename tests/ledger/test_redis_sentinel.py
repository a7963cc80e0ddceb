"""A primary that Sentinels watch is followed wherever they move it, and what a failover loses is found out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from ledger.store import StoreUnavailable, Written
from ledger.stores.redis import RedisStore
from ledger.stores.redis_sentinel import Known, _understood
from ledger.stores.redis_url import Place
from tests.ledger.redis_bench import SHORT_MS, store_on, works
from tests.ledger.store_bench import a_ref, a_write, eventually, put, there
from tests.ledger.storm import Storm
from tests.redis_server import any_server, held_port, system_server
from tests.redis_topologies import MASTER, Watched, until, watched

PATIENT_MS = 40_000
"""A deadline that outlasts a failover: calls are repeated by themselves."""


@pytest.fixture
def servers() -> Iterator[Watched]:
    """A primary, a replica and three Sentinels of the test's own."""
    with watched(any_server()) as running:
        yield running


@pytest.fixture
def system_servers() -> Iterator[Watched]:
    """The same on Debian's Redis."""
    with watched(system_server()) as running:
        yield running


def _ordered(servers: Watched) -> bool:
    """Order a failover; a Sentinel that has not heard of a good replica yet refuses (NOGOODSLAVE)."""
    return bool(servers.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER))


@pytest.mark.fault(40)
async def test_failover_is_followed_with_the_calls_and_watches_under_way(servers: Watched) -> None:
    """The operator moves the primary: claims that are sent meanwhile are acquired on the new one, with their own
    versions, and who waits for another process's call is woken from there."""
    async with store_on(servers.url, PATIENT_MS) as store, store_on(servers.url, PATIENT_MS) as peer:
        told: asyncio.Queue[str] = asyncio.Queue()
        store.listen(told.put_nowait)
        held = a_write()
        await put(store, a_ref("op_held"), held)
        await store.watch(a_ref("op_held"))
        before = servers.primary()
        await asyncio.to_thread(until, partial(_ordered, servers), "a Sentinel takes the order")
        claims = {f"op_{number}": a_write() for number in range(20)}
        claimed = [store.swap(a_ref(name), None, claim) for name, claim in claims.items()]
        assert await asyncio.gather(*claimed) == [Written()] * 20
        await asyncio.to_thread(until, lambda: servers.primary() is not before, "the Sentinels agree")
        for name, claim in claims.items():
            assert await store.swap(a_ref(name), None, claim) == Written()
            assert (await there(peer, a_ref(name))).version == claim.version
        await store.watch(a_ref("op_held"))  # as who is told does: the first watch may be lost, as any late write
        while not told.empty():
            told.get_nowait()
        assert await peer.swap(a_ref("op_held"), held.version, a_write("completed")) == Written()
        assert await told.get() == "op_held"


@pytest.mark.fault(40, 43)
async def test_primary_that_stands_still_is_left_as_soon_as_the_sentinels_say_so(servers: Watched) -> None:
    """Its connections are as good as ever, to look at: a claim that waits there is sent to the next primary once there
    is one, long before its own deadline."""
    async with store_on(servers.url, 90_000) as store:
        await put(store, a_ref("op_0"), a_write())
        primary = servers.primary()
        primary.freeze()
        claim = a_write()
        async with asyncio.timeout(40):
            assert await store.swap(a_ref(), None, claim) == Written()
        assert servers.primary() is not primary
        primary.thaw()
        assert (await there(store, a_ref())).version == claim.version


async def test_one_sentinel_is_enough_and_none_is_told_with_every_reason(servers: Watched) -> None:
    """Those that are away are not waited for; where all are, an operator reads which, and why."""
    for sentinel in servers.sentinels[:2]:
        sentinel.kill()
    async with store_on(servers.url) as store:
        await put(store, a_ref(), a_write())
    servers.sentinels[2].kill()
    with pytest.raises(StoreUnavailable, match=f"no Sentinel says where {MASTER} is") as refused:
        await RedisStore(servers.url).start()
    assert all(str(sentinel.port) in str(refused.value) for sentinel in servers.sentinels)


async def test_sentinels_that_were_cut_off_are_outvoted_by_a_later_configuration() -> None:
    """After a failover each knows the number of the configuration that it speaks of: the highest counts."""
    old, new = Known(3, Place("10.0.0.1", 6379)), Known(4, Place("10.0.0.2", 6379))
    told = [b"name", b"ledger", b"ip", b"10.0.0.2", b"port", b"6379", b"config-epoch", b"4"]
    assert _understood(told, "Sentinel", "ledger") == new
    assert max([old, new, old], key=lambda known: known.epoch) == new


async def test_name_that_no_sentinel_knows_and_port_that_is_none_are_told_as_such(servers: Watched) -> None:
    """A typing error in the URL is no outage to wait for, and reads like none."""
    with pytest.raises(StoreUnavailable, match="knows no primary named legder: see its `sentinel monitor`"):
        await RedisStore(servers.url.replace(MASTER, "legder")).start()
    port = servers.primary().port
    with pytest.raises(StoreUnavailable, match="is none: give the Sentinels' addresses, their port is 26379"):
        await RedisStore(f"redis+sentinel://127.0.0.1:{port}/{MASTER}").start()
    with held_port() as silent, pytest.raises(StoreUnavailable, match="cannot be reached"):
        await RedisStore(f"redis+sentinel://127.0.0.1:{silent}/{MASTER}").start()


@pytest.mark.fault(49)
async def test_sentinels_have_a_password_of_their_own() -> None:
    """Theirs and the servers' are two; without it, the way to give it is told."""
    with watched(any_server(), sentinel_settings=("requirepass watcher", "sentinel sentinel-pass watcher")) as servers:
        with pytest.raises(StoreUnavailable, match="asks for a password: give sentinel_password_file"):
            await RedisStore(servers.url).start()
        async with store_on(f"{servers.url}?sentinel_password=watcher") as store:
            await put(store, a_ref(), a_write())


@pytest.mark.system
@pytest.mark.fault(40)
async def test_primary_killed_under_load_is_followed_and_acknowledged_writes_with_wait_are_kept() -> None:
    """Twenty callers claim and settle while the primary is killed with -9. All go on with their own versions, and what
    a replica had to have before it was acknowledged is there: every claim, every result."""
    with watched(system_server(), replicas=2) as servers:
        async with store_on(servers.url, SHORT_MS) as store:
            async with Storm(store, callers=20, replicas=1) as storm:
                await eventually(partial(storm.settled_more_than, 100))
                servers.primary().kill()
                await eventually(storm.met_an_outage)
                await eventually(partial(storm.settled_more_than, storm.settled + 100))
            assert storm.lost == []
            await eventually(partial(works, store))
            await storm.check_all_is_kept()


@pytest.mark.system
@pytest.mark.fault(41, 42, 45)
async def test_failover_to_a_replica_that_is_behind_loses_calls_and_each_loss_is_found_out(
    system_servers: Watched,
) -> None:
    """Without `WAIT`, what the replica had not got is gone: the claim's own settlement finds nothing there, a result's
    claim stands in flight again, and the next heartbeat has everybody refuse."""
    async with store_on(system_servers.url) as store:
        early, lost, done = a_write(), a_write(), a_write("completed", result=b"201")
        await put(store, a_ref("op_early"), early)
        acknowledged = (await store.beat("p_1", 0, 60_000)).count
        primary = system_servers.primary()
        (replica,) = (server for server in system_servers.servers if server is not primary)

        async def replicated() -> bool:
            return bool(replica.ask("GET", "holdfast:{memory}:beats:p_1") == b"1")

        await eventually(replicated)
        replica.ask("REPLICAOF", "NO", "ONE")  # frozen, it would find in its socket what it was sent meanwhile
        await put(store, a_ref("op_lost"), lost)
        assert await store.swap(a_ref("op_early"), early.version, done) == Written()
        acknowledged = (await store.beat("p_1", acknowledged, 60_000)).count
        primary.kill()
        await eventually(partial(works, store))
        with pytest.raises(StoreUnavailable, match="lost memory: nothing is claimed for now"):
            await store.swap(a_ref("op_next"), None, a_write())
        assert await store.swap(a_ref("op_lost"), lost.version, a_write("completed")) is None
        assert (await there(store, a_ref("op_early"))).version == early.version
        assert (await store.beat("p_1", acknowledged, 60_000)).refusing_ms > 30_000


@pytest.mark.system
@pytest.mark.fault(43)
async def test_primary_without_its_replica_stops_taking_claims_where_it_was_told_to() -> None:
    """`min-replicas-to-write 1`: cut off from all others, an old primary answers, but promises nothing any more."""
    settings = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
    with watched(system_server(), *settings) as servers:
        async with store_on(servers.url) as store:
            await put(store, a_ref(), a_write())
            primary = servers.primary()
            for server in servers.servers:
                if server is not primary:
                    server.freeze()
            numbers = iter(range(1_000_000))

            async def refused() -> bool:
                try:
                    await store.swap(a_ref(f"op_{next(numbers)}"), None, a_write())
                except StoreUnavailable as error:
                    return "too few replicas are connected" in str(error)
                return False

            await eventually(refused)
            assert await store.read(a_ref()) is not None
