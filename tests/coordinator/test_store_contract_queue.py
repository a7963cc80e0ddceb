"""What every coordinator's store must do: the queue of results that were posted back, and the dead letters."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.store import Delivery
from tests.coordinator.run_bench import LONG_MS, SHORT_MS, WHILE_MS, RunBench


async def delivered(bench: RunBench, consumer: str = "a", *, limit: int = 100, idle_ms: int = LONG_MS) -> list[str]:
    """Return the ids of what is delivered to `consumer` now."""
    return [delivery.id for delivery in await bench.store.deliveries(consumer, limit, idle_ms)]


async def letter_ids(bench: RunBench) -> list[str]:
    """Return the ids of all dead letters."""
    letters, cursor = await bench.store.letters("", 100)
    assert cursor == ""
    return [letter.id for letter in letters]


async def test_results_are_delivered_in_order_each_to_one_consumer(bench: RunBench) -> None:
    """The oldest first, up to the limit, the next ones to whoever asks next; then none."""
    for index in range(5):
        assert await bench.store.post(f"e_{index}", b"\x00\xff%d" % index, 10) is True
    assert await bench.peer.deliveries("a", 2, LONG_MS) == [
        Delivery("e_0", b"\x00\xff0", 1),
        Delivery("e_1", b"\x00\xff1", 1),
    ]
    assert await delivered(bench, "b", limit=2) == ["e_2", "e_3"]
    assert await delivered(bench, "a") == ["e_4"]
    assert await delivered(bench, "c") == []
    assert await bench.store.depth() == 5


async def test_result_that_is_done_with_is_gone(bench: RunBench) -> None:
    """It counts no longer and is never delivered again; what is not in the queue is ignored."""
    await bench.store.post("e_1", b"1", 10)
    await bench.store.post("e_2", b"2", 10)
    await delivered(bench)
    await bench.peer.done(["e_1", "e_9"])
    await bench.peer.done(["e_1"])
    await bench.peer.done([])
    assert await bench.store.depth() == 1
    assert await delivered(bench, idle_ms=0) == ["e_2"]


async def test_result_posted_twice_is_there_once(bench: RunBench) -> None:
    """By its id, as long as it is in the queue, being worked on or not; the first one's bytes stay."""
    assert await bench.store.post("e_1", b"first", 10) is True
    assert await bench.peer.post("e_1", b"second", 10) is True
    assert await bench.store.depth() == 1
    assert await bench.store.deliveries("a", 10, LONG_MS) == [Delivery("e_1", b"first", 1)]
    assert await bench.store.post("e_1", b"third", 10) is True
    assert await delivered(bench) == []
    await bench.store.done(["e_1"])
    assert await bench.store.post("e_1", b"fourth", 10) is True
    assert await bench.store.deliveries("a", 10, LONG_MS) == [Delivery("e_1", b"fourth", 1)]


@pytest.mark.fault(71)
async def test_full_queue_takes_no_more(bench: RunBench) -> None:
    """Those being worked on count; one that is in it is in it; once there is room, there is."""
    assert await bench.store.post("e_1", b"1", 2) is True
    assert await bench.store.post("e_2", b"2", 2) is True
    await delivered(bench, limit=1)
    assert await bench.store.post("e_3", b"3", 2) is False
    assert await bench.store.post("e_2", b"2", 2) is True
    assert await bench.store.depth() == 2
    await bench.store.done(["e_1"])
    assert await bench.store.post("e_3", b"3", 2) is True


@pytest.mark.fault(71)
async def test_hundred_results_at_once_never_overfill_the_queue(bench: RunBench) -> None:
    """The bound holds whoever posts at the same time, and exactly those that were taken are there."""
    stores = [bench.store, bench.peer]
    answers = await asyncio.gather(*(stores[i % 2].post(f"e_{i}", b"", 30) for i in range(100)))
    assert answers.count(True) == 30
    assert set(await delivered(bench)) == {f"e_{i}" for i, answer in enumerate(answers) if answer}


async def test_many_consumers_at_once_get_each_result_once(bench: RunBench) -> None:
    """No result goes to two of them."""
    for index in range(60):
        await bench.store.post(f"e_{index}", b"", 100)
    stores = [bench.store, bench.peer]
    lots = await asyncio.gather(*(stores[i % 2].deliveries(f"c{i}", 4, LONG_MS) for i in range(20)))
    ids = [delivery.id for lot in lots for delivery in lot]
    assert sorted(ids) == sorted(f"e_{index}" for index in range(60))


@pytest.mark.fault(64)
async def test_result_whose_consumer_died_is_delivered_again(bench: RunBench) -> None:
    """Once it has been idle for as long as is asked, to anybody, before new ones; `times` counts."""
    await bench.store.post("e_1", b"1", 10)
    await bench.store.post("e_2", b"2", 10)
    await delivered(bench, "a")
    await bench.store.post("e_3", b"3", 10)
    await bench.pass_ms(SHORT_MS + 1)
    again = await bench.peer.deliveries("b", 2, SHORT_MS)
    assert again == [Delivery("e_1", b"1", 2), Delivery("e_2", b"2", 2)]
    assert await delivered(bench, "c", limit=1) == ["e_3"]
    await bench.pass_ms(SHORT_MS + 1)
    assert [d.times for d in await bench.store.deliveries("a", 10, SHORT_MS)] == [3, 3, 2]


async def test_result_that_was_just_delivered_is_left_to_its_consumer(bench: RunBench) -> None:
    """Redelivery counts from the last delivery."""
    await bench.store.post("e_1", b"1", 10)
    await delivered(bench, "a")
    await bench.pass_ms(SHORT_MS + 1)
    assert await delivered(bench, "b", idle_ms=SHORT_MS) == ["e_1"]
    assert await delivered(bench, "a", idle_ms=LONG_MS) == []


async def test_delivery_behind_many_that_are_under_way_is_found(bench: RunBench) -> None:
    """However many results are being worked on, a new one is delivered, and an abandoned one again."""
    for index in range(150):
        await bench.store.post(f"e_{index}", b"", 1_000)
    assert len(await delivered(bench, "a", limit=149)) == 149
    assert await delivered(bench, "b", limit=1) == ["e_149"]
    await bench.pass_ms(WHILE_MS + 1)
    assert len(await delivered(bench, "c", limit=149, idle_ms=WHILE_MS)) == 149
    # Where time is real and short, the first may be idle again by now.
    assert await delivered(bench, "d", limit=1, idle_ms=WHILE_MS) in (["e_149"], ["e_0"])


@pytest.mark.fault(72)
async def test_buried_result_is_a_dead_letter_and_the_rest_flow(bench: RunBench) -> None:
    """It leaves the queue and is kept, with reason, detail and moment; buried again, or unknown: nothing happens."""
    await bench.store.post("e_1", b"poison\x00", 10)
    await bench.store.post("e_2", b"2", 10)
    await delivered(bench)
    await bench.store.bury("e_1", "run-ended", "the run had ended: ünï")
    await bench.peer.bury("e_1", "other", "other")
    await bench.peer.bury("e_9", "other", "other")
    assert await bench.store.depth() == 1
    assert await delivered(bench, idle_ms=0) == ["e_2"]
    (letter,), cursor = await bench.peer.letters("", 10)
    assert cursor == ""
    assert (letter.id, letter.entry, letter.reason, letter.detail) == (
        "e_1",
        b"poison\x00",
        "run-ended",
        "the run had ended: ünï",
    )
    assert letter.since_ms > 1_600_000_000_000


@pytest.mark.fault(72)
async def test_result_that_was_never_delivered_may_be_buried(bench: RunBench) -> None:
    """An operator need not wait for a consumer."""
    await bench.store.post("e_1", b"1", 10)
    await bench.store.bury("e_1", "operator", "")
    assert await delivered(bench) == []
    assert await letter_ids(bench) == ["e_1"]


async def test_dead_letters_are_listed_the_oldest_first_a_page_at_a_time(bench: RunBench) -> None:
    """In the order in which they were buried."""
    for index in (2, 0, 3, 1, 4):
        await bench.store.post(f"e_{index}", b"%d" % index, 10)
        await bench.store.bury(f"e_{index}", "why", "")
    pages, cursor = [], ""
    while True:
        page, cursor = await bench.store.letters(cursor, 2)
        pages.append([letter.id for letter in page])
        if not cursor:
            break
    assert pages == [["e_2", "e_0"], ["e_3", "e_1"], ["e_4"]]
    with pytest.raises(ValueError):
        await bench.store.letters("nonsense", 2)


async def test_dead_letter_is_requeued_as_if_just_posted(bench: RunBench) -> None:
    """It is the newest in the queue, delivered for the first time, and no dead letter any more; once."""
    await bench.store.post("e_1", b"one", 10)
    await delivered(bench)
    await bench.store.bury("e_1", "why", "")
    await bench.store.post("e_2", b"two", 10)
    assert await bench.peer.requeue("e_1") is True
    assert await bench.peer.requeue("e_1") is False
    assert await letter_ids(bench) == []
    assert await bench.store.depth() == 2
    assert await bench.store.deliveries("a", 10, LONG_MS) == [Delivery("e_2", b"two", 1), Delivery("e_1", b"one", 1)]


async def test_dead_letter_requeued_beside_its_like_is_there_once(bench: RunBench) -> None:
    """Where the same was posted again meanwhile, that one stays, and the letter goes."""
    await bench.store.post("e_1", b"one", 10)
    await bench.store.bury("e_1", "why", "")
    await bench.store.post("e_1", b"again", 10)
    assert await bench.store.requeue("e_1") is True
    assert await letter_ids(bench) == []
    assert await bench.store.deliveries("a", 10, LONG_MS) == [Delivery("e_1", b"again", 1)]


async def test_dead_letter_of_an_id_that_has_one_takes_its_place(bench: RunBench) -> None:
    """Posted, buried, posted and buried again: one letter, with the newest reason, in the newest place."""
    for entry_id, entry, reason in (("e_1", b"1", "first"), ("e_2", b"2", "why"), ("e_1", b"1", "second")):
        await bench.store.post(entry_id, entry, 10)
        await bench.store.bury(entry_id, reason, "")
    letters, _ = await bench.store.letters("", 10)
    assert [(letter.id, letter.reason) for letter in letters] == [("e_2", "why"), ("e_1", "second")]


async def test_dropped_dead_letter_is_gone(bench: RunBench) -> None:
    """Once, and for good."""
    await bench.store.post("e_1", b"one", 10)
    await bench.store.bury("e_1", "why", "")
    assert await bench.peer.drop("e_1") is True
    assert await bench.peer.drop("e_1") is False
    assert await bench.store.requeue("e_1") is False
    assert await letter_ids(bench) == []
    assert await bench.store.depth() == 0
