"""What the memory store adds to the contract: virtual time to the millisecond."""

from __future__ import annotations

import pytest

from ledger.store import Present, StoreUnavailable, UnknownCount
from ledger.stores.memory import MemoryStore
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, put


async def test_lease_lapses_on_its_millisecond() -> None:
    """A lease of 100 ms runs at 99 and is over at 100."""
    clock = SteppedClock()
    store = MemoryStore(clock)
    await store.start()
    claim = a_write(lease_ms=100)
    await put(store, a_ref(), claim)
    clock.now_ms += 99
    assert await store.read(a_ref()) == Present(claim.version, claim.record, None, 1)
    assert await store.due(1) == []
    clock.now_ms += 1
    assert await store.read(a_ref()) == Present(claim.version, claim.record, None, 0)
    assert await store.due(1) == [a_ref()]
    clock.now_ms += 7
    assert await store.read(a_ref()) == Present(claim.version, claim.record, None, -7)


async def test_result_and_record_go_on_their_millisecond() -> None:
    """What is kept for 100 ms is there at 99 and gone at 100, the result and the record each by its own time."""
    clock = SteppedClock()
    store = MemoryStore(clock)
    await store.start()
    done = a_write("completed", result=b"reply", result_ms=100, forget_ms=200)
    await put(store, a_ref(), done)
    clock.now_ms += 99
    assert await store.read(a_ref()) == Present(done.version, done.record, b"reply", None)
    clock.now_ms += 1
    assert await store.read(a_ref()) == Present(done.version, done.record, None, None)
    clock.now_ms += 99
    assert await store.read(a_ref()) is not None
    clock.now_ms += 1
    assert await store.read(a_ref()) is None


async def test_unknown_age_is_counted_from_the_first_not_knowing() -> None:
    """The age runs on through a rewrite of what is still unknown."""
    clock = SteppedClock()
    store = MemoryStore(clock)
    await store.start()
    await put(store, a_ref(), a_write("unknown"))
    clock.now_ms += 30
    await put(store, a_ref(), a_write("unknown"))
    clock.now_ms += 12
    assert await store.unknowns() == [UnknownCount(a_ref().scope, 1, 42)]


async def test_sweep_lets_go_of_forgotten_places() -> None:
    """What nobody asks for again does not stay in memory once a sweep came by."""
    clock = SteppedClock()
    store = MemoryStore(clock)
    await store.start()
    for index in range(50):
        await put(store, a_ref(f"op_{index}"), a_write("completed", forget_ms=10))
    clock.now_ms += 10
    await store.due(1)
    assert len(store._places) == 0


async def test_memory_store_that_was_not_started_is_unavailable() -> None:
    """A store is used between `start` and `close` only."""
    with pytest.raises(StoreUnavailable):
        await MemoryStore().read(a_ref())
