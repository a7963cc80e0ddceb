"""What every store must do to be found out when it loses its memory (fault 45)."""

from __future__ import annotations

import pytest

from ledger.store import Beat, Store
from tests.ledger.store_bench import StoreBench

MINUTE = 60_000


async def beaten(store: Store, times: int, process: str = "p_1") -> int:
    """Beat so many times from the first; return what was acknowledged."""
    acknowledged = 0
    for _ in range(times):
        acknowledged = (await store.beat(process, acknowledged, MINUTE)).count
    return acknowledged


async def test_each_beat_counts_one_for_its_process(bench: StoreBench) -> None:
    """Counts are each process's own, and nobody refuses anything."""
    for count in (1, 2, 3):
        assert await bench.store.beat("p_1", count - 1, MINUTE) == Beat(count, 0)
    assert await bench.peer.beat("p_2", 0, MINUTE) == Beat(1, 0)
    assert await bench.store.beat("p_1", 3, MINUTE) == Beat(4, 0)


async def test_beat_whose_answer_was_lost_is_no_loss(bench: StoreBench) -> None:
    """A count above what was acknowledged only says that an answer did not come."""
    await beaten(bench.store, 3)
    assert await bench.store.beat("p_1", 1, MINUTE) == Beat(4, 0)


@pytest.mark.fault(45)
async def test_lower_count_than_acknowledged_has_every_process_refuse(bench: StoreBench) -> None:
    """One process notices that the memory went back; the others are told with their next beat, new ones with their
    first."""
    acknowledged = await beaten(bench.store, 3)
    await bench.wipe()
    beat = await bench.store.beat("p_1", acknowledged, MINUTE)
    assert MINUTE / 2 < beat.refusing_ms <= MINUTE
    assert MINUTE / 2 < (await bench.peer.beat("p_2", 0, MINUTE)).refusing_ms <= MINUTE


@pytest.mark.fault(45)
async def test_refusal_is_over_after_its_time_by_the_stores_clock(bench: StoreBench) -> None:
    """It lasts as long as the one who noticed said, and further beats do not lengthen it."""
    acknowledged = await beaten(bench.store, 3)
    await bench.wipe()
    beat = await bench.store.beat("p_1", acknowledged, 400)
    assert 0 < beat.refusing_ms <= 400
    await bench.pass_ms(100)
    again = await bench.store.beat("p_1", beat.count, 400)
    assert again.refusing_ms <= 300
    await bench.pass_ms(320)
    assert (await bench.store.beat("p_1", again.count, 400)).refusing_ms == 0
    assert (await bench.peer.beat("p_2", 0, 400)).refusing_ms == 0


@pytest.mark.fault(45)
async def test_accepted_loss_ends_the_refusal_for_every_process(bench: StoreBench) -> None:
    """An operator has looked at it; what is acknowledged from then on is the new count, and no loss any more."""
    acknowledged = await beaten(bench.store, 3)
    await bench.wipe()
    beat = await bench.store.beat("p_1", acknowledged, MINUTE)
    await bench.peer.accept()
    assert await bench.store.beat("p_1", beat.count, MINUTE) == Beat(beat.count + 1, 0)
    assert (await bench.peer.beat("p_2", 0, MINUTE)).refusing_ms == 0


@pytest.mark.fault(45)
async def test_second_loss_is_noticed_like_the_first(bench: StoreBench) -> None:
    """The refusal may be lost with the rest: then so are the counts, which has everybody refuse anew; also after an
    operator accepted the first."""
    acknowledged = await beaten(bench.store, 3)
    for _ in range(2):
        await bench.wipe()
        beat = await bench.store.beat("p_1", acknowledged, MINUTE)
        assert beat.refusing_ms > 0
        acknowledged = beat.count
    await bench.store.accept()
    acknowledged = (await bench.store.beat("p_1", acknowledged, MINUTE)).count
    await bench.wipe()
    assert (await bench.store.beat("p_1", acknowledged, MINUTE)).refusing_ms > 0


async def test_accepting_where_nothing_was_lost_does_nothing(bench: StoreBench) -> None:
    """Asked twice, or by mistake, it harms nobody."""
    await bench.store.accept()
    await bench.store.accept()
    assert await bench.store.beat("p_1", 0, MINUTE) == Beat(1, 0)
