"""What every store must do, in the words of its port (`ledger.store`); each test runs on each store."""

from __future__ import annotations

import asyncio

import pytest

from ledger.key import Ref
from ledger.store import Present, StoreUnavailable, Written
from tests.ledger.store_bench import StoreBench, a_ref, a_write, eventually, put, there

MIB = 1024 * 1024


async def test_claim_on_nothing_is_written(bench: StoreBench) -> None:
    """A place where nothing stands is claimed by the first who expects nothing."""
    claim = a_write(record=b"the claim")
    assert await bench.store.read(a_ref()) is None
    assert await bench.store.swap(a_ref(), None, claim) == Written()
    standing = await there(bench.store, a_ref())
    assert (standing.version, standing.record, standing.result) == (claim.version, b"the claim", None)


async def test_claim_on_a_claim_gets_what_stands(bench: StoreBench) -> None:
    """Who comes second gets the first one's version, record and lease left, and changes nothing."""
    first = a_write(record=b"first", lease_ms=60_000)
    await put(bench.store, a_ref(), first)
    met = await bench.peer.swap(a_ref(), None, a_write(record=b"second"))
    assert isinstance(met, Present)
    assert (met.version, met.record) == (first.version, b"first")
    assert met.lease_left_ms is not None
    assert 0 < met.lease_left_ms <= 60_000
    assert (await there(bench.store, a_ref())).version == first.version


async def test_claim_on_a_completed_place_gets_its_result(bench: StoreBench) -> None:
    """One round trip is enough for a replay: the conflict hands back the result, and no lease."""
    done = a_write("completed", record=b"done", result=b"201 Created", result_ms=60_000)
    await put(bench.store, a_ref(), a_write(), done)
    met = await bench.store.swap(a_ref(), None, a_write())
    assert met == Present(done.version, b"done", b"201 Created", None)


async def test_swap_of_a_stale_version_changes_nothing(bench: StoreBench) -> None:
    """A settle whose claim no longer stands gets what does, and leaves it alone."""
    claim, newer = a_write(), a_write("completed", record=b"newer", result=b"kept", result_ms=60_000)
    await put(bench.store, a_ref(), claim, newer)
    met = await bench.store.swap(a_ref(), claim.version, a_write("completed", record=b"stale"))
    assert met == Present(newer.version, b"newer", b"kept", None)
    assert await bench.store.read(a_ref()) == met


async def test_swap_of_a_version_where_nothing_stands_gets_nothing(bench: StoreBench) -> None:
    """A settle of a claim that is gone (flushed, forgotten) is told so, and does not make a record out of nothing."""
    assert await bench.store.swap(a_ref(), "v0", a_write("completed")) is None
    assert await bench.store.read(a_ref()) is None


@pytest.mark.fault(36)
async def test_claim_sent_twice_is_written_both_times(bench: StoreBench) -> None:
    """A claim whose answer was lost is asked again with its version, and is acquired once."""
    claim = a_write()
    assert await bench.store.swap(a_ref(), None, claim) == Written()
    assert await bench.store.swap(a_ref(), None, claim) == Written()
    assert (await there(bench.store, a_ref())).version == claim.version


@pytest.mark.fault(37)
async def test_settle_sent_twice_is_written_both_times(bench: StoreBench) -> None:
    """A settle whose answer was lost is sent again; its result stands once."""
    claim, done = a_write(), a_write("completed", result=b"reply", result_ms=60_000)
    await put(bench.store, a_ref(), claim)
    assert await bench.store.swap(a_ref(), claim.version, done) == Written()
    assert await bench.store.swap(a_ref(), claim.version, done) == Written()
    assert await bench.store.read(a_ref()) == Present(done.version, done.record, b"reply", None)


async def test_claim_sent_again_after_another_write_gets_that(bench: StoreBench) -> None:
    """Once somebody wrote after it, a claim sent again is an ordinary latecomer."""
    claim, later = a_write(), a_write("unknown", record=b"later")
    await put(bench.store, a_ref(), claim, later)
    met = await bench.store.swap(a_ref(), None, claim)
    assert isinstance(met, Present)
    assert (met.version, met.record) == (later.version, b"later")


async def test_hundred_swaps_at_once_write_exactly_one(bench: StoreBench) -> None:
    """However many expect the same version at the same time, one replaces it and all others are handed that one."""
    claim = a_write()
    await put(bench.store, a_ref(), claim)
    writes = [a_write("completed", record=b"%d" % i) for i in range(100)]
    stores = [bench.store, bench.peer]
    swaps = [stores[i % 2].swap(a_ref(), claim.version, write) for i, write in enumerate(writes)]
    answers = await asyncio.gather(*swaps)
    winners = [write for write, answer in zip(writes, answers, strict=True) if answer == Written()]
    assert len(winners) == 1
    assert {answer.version for answer in answers if isinstance(answer, Present)} == {winners[0].version}


async def test_hundred_claims_at_once_write_exactly_one(bench: StoreBench) -> None:
    """However many claim an absent place at the same time, one has it."""
    stores = [bench.store, bench.peer]
    claims = [stores[i % 2].swap(a_ref(), None, a_write()) for i in range(100)]
    answers = await asyncio.gather(*claims)
    assert sum(answer == Written() for answer in answers) == 1


async def test_many_places_at_once_do_not_touch_each_other(bench: StoreBench) -> None:
    """Swaps of different places, under way together, each change their own."""
    refs = [a_ref(f"op_{i}") for i in range(200)]
    claims = [a_write(record=b"%d" % i) for i in range(200)]
    answers = await asyncio.gather(*(bench.store.swap(r, None, c) for r, c in zip(refs, claims, strict=True)))
    assert answers == [Written()] * 200
    standing = await asyncio.gather(*(bench.store.read(ref) for ref in refs))
    assert [place.record for place in standing if place] == [claim.record for claim in claims]


@pytest.mark.fault(50)
async def test_refs_that_concatenate_alike_stay_apart(bench: StoreBench) -> None:
    """Scope and operation are two things, whatever they are made of."""
    refs = [Ref("acme/a", "b:c"), Ref("acme/a:b", "c"), Ref("acme", "/a:b:c"), Ref("a", "cme/a:b:c")]
    for index, ref in enumerate(refs):
        await put(bench.store, ref, a_write(record=b"%d" % index))
    assert [(await there(bench.store, ref)).record for ref in refs] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "ref",
    [
        Ref("acme%2Fde/create%7Bticket%7D", "op_1"),
        Ref('o\'brien/"tool"; DROP TABLE places; --', "op '\"\\ *?[a]"),
        Ref("a b\r\nc/x", "op_\x01\t"),
        Ref("{acme}/{tool}", "op_{x}"),
        Ref("ünï/çødé", "op_🎫"),
    ],
    ids=["percent", "quotes", "control", "braces", "unicode"],
)
async def test_refs_that_need_quoting_are_kept_apart_and_given_back_whole(bench: StoreBench, ref: Ref) -> None:
    """No character in a scope or an operation means anything to a store; `due` hands back what was put in."""
    await put(bench.store, ref, a_write(record=b"odd", lease_ms=5))
    await put(bench.store, a_ref(), a_write())
    assert (await there(bench.store, ref)).record == b"odd"
    await bench.pass_ms(10)
    assert await bench.store.due(10) == [ref]


async def test_records_and_results_are_bytes(bench: StoreBench) -> None:
    """Every byte value, in any order, comes back as it was."""
    data = bytes(range(256)) * 3 + b"\x00\xff\r\n$-1\r\n\xc3\x28"
    await put(bench.store, a_ref(), a_write("completed", record=data, result=data[::-1], result_ms=60_000))
    standing = await there(bench.store, a_ref())
    assert (standing.record, standing.result) == (data, data[::-1])


async def test_empty_record_and_empty_result_are_not_absent(bench: StoreBench) -> None:
    """No bytes is a value, and another one than None."""
    await put(bench.store, a_ref(), a_write("completed", record=b"", result=b"", result_ms=60_000))
    standing = await there(bench.store, a_ref())
    assert (standing.record, standing.result) == (b"", b"")


async def test_two_mebibytes_come_back_whole(bench: StoreBench) -> None:
    """A result of 2 MiB is stored and replayed like a small one."""
    data = bytes(index * 7 % 251 for index in range(4096)) * (2 * MIB // 4096)
    done = a_write("completed", result=data, result_ms=60_000)
    await put(bench.store, a_ref(), a_write(), done)
    assert (await there(bench.store, a_ref())).result == data
    met = await bench.store.swap(a_ref(), None, a_write())
    assert isinstance(met, Present)
    assert met.result == data


async def test_watcher_is_told_of_the_next_swap(bench: StoreBench) -> None:
    """A swap by any process calls the listener of a process that watches the place."""
    told: asyncio.Queue[str] = asyncio.Queue()
    bench.store.listen(told.put_nowait)
    claim = a_write()
    await put(bench.store, a_ref(), claim)
    standing = await bench.store.watch(a_ref())
    assert standing is not None
    assert standing.version == claim.version
    assert await bench.peer.swap(a_ref(), claim.version, a_write("completed")) == Written()
    async with asyncio.timeout(60):
        assert await told.get() == a_ref().operation


async def test_watch_where_nothing_stands_is_told_of_the_claim(bench: StoreBench) -> None:
    """A place can be watched before anything stands there."""
    told: asyncio.Queue[str] = asyncio.Queue()
    bench.store.listen(told.put_nowait)
    assert await bench.store.watch(a_ref()) is None
    await put(bench.peer, a_ref(), a_write())
    async with asyncio.timeout(60):
        assert await told.get() == a_ref().operation


async def test_watch_beside_a_swap_never_misses_it(bench: StoreBench) -> None:
    """Whichever comes first, a watcher either reads the new record or is told of it: there is no gap between."""
    told: set[str] = set()
    bench.store.listen(told.add)
    claims = [a_write() for _ in range(100)]
    for index, claim in enumerate(claims):
        await put(bench.store, a_ref(f"op_{index}"), claim)

    async def race(index: int) -> None:
        ref, claim = a_ref(f"op_{index}"), claims[index]
        done = a_write("completed")
        watching = asyncio.ensure_future(bench.store.watch(ref))
        settling = asyncio.ensure_future(bench.peer.swap(ref, claim.version, done))
        seen, written = await asyncio.gather(watching, settling)
        assert written == Written()
        assert seen is not None

        async def known() -> bool:
            return seen.version == done.version or ref.operation in told

        await eventually(known)

    await asyncio.gather(*(race(index) for index in range(100)))


async def test_listener_may_use_the_store(bench: StoreBench) -> None:
    """A listener is called outside of the store's own work, so it may start calls on it."""
    seen: asyncio.Queue[Present | None] = asyncio.Queue()

    async def look() -> None:
        seen.put_nowait(await bench.store.read(a_ref()))

    tasks: set[asyncio.Task[None]] = set()
    bench.store.listen(lambda _operation: tasks.add(asyncio.ensure_future(look())))
    await bench.store.watch(a_ref())
    claim = a_write()
    await put(bench.peer, a_ref(), claim)
    async with asyncio.timeout(60):
        standing = await seen.get()
        await asyncio.gather(*tasks)
    assert standing is not None
    assert standing.version == claim.version


async def test_closed_store_is_unavailable(bench: StoreBench) -> None:
    """After `close`, every call says so at once; nothing hangs, nothing is taken for absent. Closing twice is fine."""
    store, ref, claim = bench.store, a_ref(), a_write()
    await put(store, ref, claim)
    await store.close()
    await store.close()
    calls = [
        store.swap(ref, claim.version, a_write("completed")),
        store.read(ref),
        store.watch(ref),
        store.renew(ref, claim.version, 1_000),
        store.due(1),
        store.unknowns(),
        store.scan(None, "", 1),
        store.beat("p_1", 0, 1_000),
        store.accept(),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call
