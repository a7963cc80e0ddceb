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


async def test_swap_of_the_expected_version_replaces_record_result_and_lease(bench: StoreBench) -> None:
    """Everything about a place is what the newest write says, nothing of the one before."""
    done = a_write("completed", record=b"done", result=b"reply", result_ms=60_000)
    again = a_write("free", record=b"free again")
    await put(bench.store, a_ref(), a_write(), done, again)
    assert await bench.store.read(a_ref()) == Present(again.version, b"free again", None, None)


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
    refs = [Ref("acme/a", "b:c"), Ref("acme/a:b", "c"), Ref("acme", "/a:b:c"), Ref("", "acme/a:b:c")]
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


async def test_lease_that_runs_is_not_due(bench: StoreBench) -> None:
    """A place is not due before its lease is over, nor is one without a lease."""
    await put(bench.store, a_ref("op_1"), a_write(lease_ms=60_000))
    await put(bench.store, a_ref("op_2"), a_write("unknown"))
    assert await bench.store.due(10) == []


async def test_lapsed_lease_is_due_and_its_place_unchanged(bench: StoreBench) -> None:
    """A lapsed lease puts the place on the list and does nothing else: a store never judges."""
    claim = a_write(record=b"claimed", lease_ms=5)
    await put(bench.store, a_ref(), claim)
    await bench.pass_ms(10)
    assert await bench.peer.due(10) == [a_ref()]
    standing = await there(bench.store, a_ref())
    assert (standing.version, standing.record) == (claim.version, b"claimed")
    assert standing.lease_left_ms is not None
    assert standing.lease_left_ms <= 0
    assert await bench.store.due(10) == [a_ref()]


async def test_due_lists_the_longest_lapsed_first_across_scopes(bench: StoreBench) -> None:
    """The order is by when the leases ended, whatever the scope and the order of the claims."""
    refs = [Ref("acme/b", "op_3"), Ref("acme/a", "op_2"), Ref("zeta/c", "op_1")]
    for ref, lease_ms in zip(refs, (400, 200, 5), strict=True):
        await put(bench.store, ref, a_write(lease_ms=lease_ms))
        await bench.pass_ms(1)
    await bench.pass_ms(400)
    assert await bench.store.due(10) == refs[::-1]


async def test_due_hands_out_no_more_than_asked_for(bench: StoreBench) -> None:
    """A sweep is bounded: `limit` places, the longest lapsed ones."""
    for index in range(6):
        await put(bench.store, a_ref(f"op_{index}", f"acme/tool{index % 3}"), a_write(lease_ms=5 + index))
        await bench.pass_ms(2)
    await bench.pass_ms(20)
    assert [ref.operation for ref in await bench.store.due(4)] == ["op_0", "op_1", "op_2", "op_3"]


async def test_settled_place_is_no_longer_due(bench: StoreBench) -> None:
    """A swap to a place without a lease takes it off the list."""
    claim = a_write(lease_ms=5)
    await put(bench.store, a_ref(), claim)
    await bench.pass_ms(10)
    assert await bench.store.due(10) == [a_ref()]
    assert await bench.store.swap(a_ref(), claim.version, a_write("unknown")) == Written()
    assert await bench.store.due(10) == []
    assert (await there(bench.store, a_ref())).lease_left_ms is None


async def test_renewed_lease_is_no_longer_due(bench: StoreBench) -> None:
    """A renewal counts from now, even after the lease had lapsed, and keeps everything else."""
    claim = a_write(record=b"claimed", lease_ms=5)
    await put(bench.store, a_ref(), claim)
    await bench.pass_ms(10)
    assert await bench.store.renew(a_ref(), claim.version, 60_000) is True
    assert await bench.store.due(10) == []
    standing = await there(bench.store, a_ref())
    assert (standing.version, standing.record) == (claim.version, b"claimed")
    assert standing.lease_left_ms is not None
    assert 50_000 < standing.lease_left_ms <= 60_000


async def test_lease_renewed_for_a_shorter_time_lapses_sooner(bench: StoreBench) -> None:
    """A renewal replaces the lease: it is not the longer of the two."""
    claim = a_write(lease_ms=60_000)
    await put(bench.store, a_ref(), claim)
    assert await bench.store.renew(a_ref(), claim.version, 5) is True
    await bench.pass_ms(10)
    assert await bench.store.due(10) == [a_ref()]


async def test_renewal_of_a_stale_version_changes_nothing(bench: StoreBench) -> None:
    """An owner that lost its place learns it from its renewal, and does not bring a lease back."""
    claim = a_write(lease_ms=5)
    await put(bench.store, a_ref(), claim, a_write("unknown"))
    assert await bench.store.renew(a_ref(), claim.version, 5) is False
    assert (await there(bench.store, a_ref())).lease_left_ms is None
    await bench.pass_ms(10)
    assert await bench.store.due(10) == []


async def test_renewal_where_nothing_stands_is_refused(bench: StoreBench) -> None:
    """A renewal makes nothing."""
    assert await bench.store.renew(a_ref(), "v0", 60_000) is False
    assert await bench.store.read(a_ref()) is None


async def test_unknown_place_with_a_lease_falls_due_too(bench: StoreBench) -> None:
    """A lease belongs to a place, not to a phase: an unknown one that is listened for can lapse as well."""
    await put(bench.store, a_ref(), a_write(), a_write("unknown", lease_ms=5))
    await bench.pass_ms(10)
    assert await bench.store.due(10) == [a_ref()]


async def test_result_past_its_retention_is_gone_and_the_record_stays(bench: StoreBench) -> None:
    """After `result_ms`, `read` and `swap` hand back the record alone."""
    done = a_write("completed", record=b"done", result=b"reply", result_ms=40, forget_ms=60_000)
    kept = a_write("completed", record=b"done", result=b"reply", result_ms=60_000, forget_ms=60_000)
    await put(bench.store, a_ref("op_short"), done)
    await put(bench.store, a_ref("op_long"), kept)
    await bench.pass_ms(50)
    assert await bench.store.read(a_ref("op_short")) == Present(done.version, b"done", None, None)
    assert await bench.store.swap(a_ref("op_short"), None, a_write()) == Present(done.version, b"done", None, None)
    assert (await there(bench.store, a_ref("op_long"))).result == b"reply"


async def test_result_without_a_retention_is_kept_with_its_record(bench: StoreBench) -> None:
    """No `result_ms` means as long as the place stands."""
    await put(bench.store, a_ref(), a_write("completed", result=b"reply"))
    await bench.pass_ms(50)
    assert (await there(bench.store, a_ref())).result == b"reply"


async def test_forgotten_place_is_absent_to_every_call(bench: StoreBench) -> None:
    """After `forget_ms` nothing stands there: not to a read, a swap, a renewal, the sweep or the count."""
    old = a_write("unknown", lease_ms=5, forget_ms=20)
    await put(bench.store, a_ref(), old)
    await bench.pass_ms(30)
    assert await bench.store.read(a_ref()) is None
    assert await bench.store.swap(a_ref(), old.version, a_write("completed")) is None
    assert await bench.store.renew(a_ref(), old.version, 60_000) is False
    assert await bench.store.due(10) == []
    assert await bench.store.unknowns() == []


async def test_forgotten_place_can_be_claimed_anew(bench: StoreBench) -> None:
    """What was forgotten leaves nothing behind in the claim that takes its place."""
    await put(bench.store, a_ref(), a_write("completed", record=b"old", result=b"old", forget_ms=5))
    await bench.pass_ms(10)
    claim = a_write(record=b"new", lease_ms=60_000)
    assert await bench.store.swap(a_ref(), None, claim) == Written()
    await bench.pass_ms(10)
    standing = await there(bench.store, a_ref())
    assert (standing.version, standing.record, standing.result) == (claim.version, b"new", None)


async def test_place_rewritten_without_forgetting_is_kept(bench: StoreBench) -> None:
    """A free place on its way to being forgotten is claimed again: the claim is not forgotten with it."""
    await put(bench.store, a_ref(), a_write("free", forget_ms=20), a_write(record=b"claimed again"))
    await bench.pass_ms(30)
    assert (await there(bench.store, a_ref())).record == b"claimed again"


async def test_unknowns_are_counted_by_scope_with_the_oldest_age(bench: StoreBench) -> None:
    """The count is of the whole store; the age is that of the oldest of a scope."""
    await put(bench.store, a_ref("op_1", "acme/a"), a_write("unknown"))
    await bench.pass_ms(200)
    await put(bench.store, a_ref("op_2", "acme/a"), a_write(), a_write("unknown"))
    await put(bench.store, a_ref("op_3", "zeta/b"), a_write("unknown"))
    await put(bench.store, a_ref("op_4", "zeta/b"), a_write("completed"))
    await put(bench.store, a_ref("op_5", "acme/c"), a_write())
    first, second = sorted(await bench.peer.unknowns(), key=lambda count: count.scope)
    assert (first.scope, first.count) == ("acme/a", 2)
    assert (second.scope, second.count) == ("zeta/b", 1)
    assert 200 <= first.oldest_age_ms < 10_000
    assert 0 <= second.oldest_age_ms < first.oldest_age_ms


async def test_unknown_that_was_settled_is_not_counted(bench: StoreBench) -> None:
    """Leaving the phase leaves the count."""
    await put(bench.store, a_ref(), a_write("unknown"), a_write("completed"))
    assert await bench.store.unknowns() == []


async def test_unknown_rewritten_as_unknown_is_as_old_as_before(bench: StoreBench) -> None:
    """What is learnt about an unknown outcome (nobody listens any more, say) does not make it younger."""
    await put(bench.store, a_ref(), a_write("unknown", lease_ms=60_000))
    await bench.pass_ms(200)
    await put(bench.store, a_ref(), a_write("unknown"))
    assert [(count.count, count.oldest_age_ms >= 200) for count in await bench.store.unknowns()] == [(1, True)]


async def test_unknown_again_after_another_claim_is_young(bench: StoreBench) -> None:
    """The age is that of this time of not knowing."""
    await put(bench.store, a_ref(), a_write("unknown"))
    await bench.pass_ms(500)
    await put(bench.store, a_ref(), a_write("in_flight"), a_write("unknown"))
    assert [count.oldest_age_ms < 500 for count in await bench.store.unknowns()] == [True]


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
    async with asyncio.timeout(10):
        assert await told.get() == a_ref().operation


async def test_watch_where_nothing_stands_is_told_of_the_claim(bench: StoreBench) -> None:
    """A place can be watched before anything stands there."""
    told: asyncio.Queue[str] = asyncio.Queue()
    bench.store.listen(told.put_nowait)
    assert await bench.store.watch(a_ref()) is None
    await put(bench.peer, a_ref(), a_write())
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(10):
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
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call
