"""What the coordinator's memory store adds to the contract: virtual time to the millisecond."""

from __future__ import annotations

import pytest

from coordinator.stores.memory import MemoryRunStore
from ledger.store import StoreUnavailable
from tests.coordinator.run_bench import LONG_MS, a_put, put, taken
from tests.ledger.store_bench import SteppedClock


async def started(clock: SteppedClock) -> MemoryRunStore:
    """Return a store in virtual time."""
    store = MemoryRunStore(clock)
    await store.start()
    return store


async def test_place_falls_due_and_is_forgotten_on_its_millisecond() -> None:
    """Due in 100 ms is not due at 99; forgotten after 200 ms stands at 199."""
    clock = SteppedClock()
    store = await started(clock)
    await put(store, a_put(then="release", in_ms=100, forget_ms=200))
    clock.now_ms += 99
    assert await taken(store) == []
    clock.now_ms += 1
    assert await taken(store, visibility_ms=99) == ["run_1"]
    clock.now_ms += 98
    assert await taken(store) == []
    clock.now_ms += 1
    assert await store.read("run_1") is not None
    clock.now_ms += 1
    assert await store.read("run_1") is None


async def test_result_is_idle_on_its_millisecond() -> None:
    """Delivered 100 ms ago is idle for 100 ms, and not for 101."""
    clock = SteppedClock()
    store = await started(clock)
    await store.post("e_1", b"", 1)
    await store.deliveries("a", 1, LONG_MS)
    clock.now_ms += 100
    assert await store.deliveries("b", 1, 101) == []
    assert len(await store.deliveries("b", 1, 100)) == 1


async def test_store_that_is_used_lets_go_of_what_is_forgotten() -> None:
    """What nobody asks for again does not stay in memory once somebody looked what is due."""
    clock = SteppedClock()
    store = await started(clock)
    for index in range(50):
        await put(store, a_put(f"run_{index}", forget_ms=10))
        await store.hear(f"w_{index}", 10, "")
    clock.now_ms += 10
    assert await taken(store) == []
    assert (len(store._places), len(store._heard)) == (0, 0)


async def test_memory_store_that_was_not_started_is_unavailable() -> None:
    """A store is used between `start` and `close` only."""
    with pytest.raises(StoreUnavailable):
        await MemoryRunStore().read("run_1")
