"""What every store must do as time passes: leases, the sweep's list, retention, forgetting, and ages."""

from __future__ import annotations

from ledger.key import Ref
from ledger.store import Present, Written
from tests.ledger.store_bench import StoreBench, a_ref, a_write, put, there


async def test_swap_of_the_expected_version_replaces_record_result_and_lease(bench: StoreBench) -> None:
    """Everything about a place is what the newest write says, nothing of the one before."""
    done = a_write("completed", record=b"done", result=b"reply", result_ms=60_000)
    again = a_write("free", record=b"free again")
    await put(bench.store, a_ref(), a_write(), done, again)
    assert await bench.store.read(a_ref()) == Present(again.version, b"free again", None, None)


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
    await put(bench.store, a_ref(), a_write("free", forget_ms=500), a_write(record=b"claimed again"))
    await bench.pass_ms(520)
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
