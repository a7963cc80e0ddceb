"""What every coordinator's store must do: listings, counts, and notifications that are heard once."""

from __future__ import annotations

import asyncio

import pytest

from tests.coordinator.run_bench import LONG_MS, SHORT_MS, RunBench, a_put, idle, keys_of, put, taken, there


async def listed(bench: RunBench, label: str, limit: int) -> list[list[str]]:
    """Return the pages of a listing, each as its keys."""
    pages, cursor = [], ""
    while True:
        page = await bench.store.scan(label, cursor, limit)
        pages.append(keys_of(page.places))
        cursor = page.cursor
        if not cursor:
            return pages


async def test_listing_has_the_newest_written_first_a_page_at_a_time(bench: RunBench) -> None:
    """A label's places, and with no label all that have any; a rewritten one comes first again."""
    for index in range(5):
        await put(bench.store, idle(f"run_{index}", label="queued" if index % 2 else "done"))
    await put(bench.store, idle("hidden"))
    one = await there(bench.store, "run_1")
    await put(bench.store, idle("run_1", one.version, label="queued"))
    assert await listed(bench, "", 2) == [["run_1", "run_4"], ["run_3", "run_2"], ["run_0"]]
    assert await listed(bench, "queued", 10) == [["run_1", "run_3"]]
    assert await listed(bench, "done", 2) == [["run_4", "run_2"], ["run_0"]]
    assert await listed(bench, "nothing", 2) == [[]]


async def test_listed_place_is_what_stands(bench: RunBench) -> None:
    """Record, version and owner come with it."""
    await put(bench.store, a_put(label="queued", record=b"whole", owner="a", then="keep", in_ms=LONG_MS))
    (place,) = (await bench.peer.scan("queued", "", 1)).places
    assert place == await there(bench.store)
    assert (place.record, place.owner) == (b"whole", "a")


async def test_place_that_changes_its_label_changes_its_listing(bench: RunBench) -> None:
    """It is in one listing at a time; without a label in none."""
    await put(bench.store, first := idle(label="queued"))
    await put(bench.store, second := idle(expected=first.version, label="done"))
    assert await bench.store.counts() == {"done": 1}
    assert await listed(bench, "queued", 2) == [[]]
    assert await listed(bench, "done", 2) == [["run_1"]]
    await put(bench.store, idle(expected=second.version))
    assert await bench.store.counts() == {}
    assert await listed(bench, "", 2) == [[]]


async def test_counts_are_by_label(bench: RunBench) -> None:
    """What has no label is not counted; owners and due times play no part."""
    await put(bench.store, *(a_put(f"run_{i}", label="queued") for i in range(7)), *(idle(f"x_{i}") for i in range(3)))
    await put(bench.store, *(idle(f"turn_{i}", label="turn") for i in range(2)))
    await taken(bench.store, limit=3)
    assert await bench.peer.counts() == {"queued": 7, "turn": 2}


async def test_forgotten_places_leave_counts_and_listings(bench: RunBench) -> None:
    """However many are forgotten at once: not one of them is counted or listed."""
    many = [a_put(f"old_{i}", label="done", then="release", forget_ms=SHORT_MS) for i in range(300)]
    for index in range(0, 300, 50):
        await put(bench.store, *many[index : index + 50])
    await put(bench.store, idle("run_1", label="done"))
    await bench.pass_ms(SHORT_MS + 1)
    assert await bench.store.counts() == {"done": 1}
    pages = await listed(bench, "done", 100)
    assert [key for page in pages for key in page] == ["run_1"]
    one = await there(bench.store)
    await put(bench.store, a_put("run_1", one.version, label="done", then="release", forget_ms=SHORT_MS))
    await bench.pass_ms(SHORT_MS + 1)
    assert await bench.store.counts() == {}


async def test_cursor_of_another_listing_is_refused(bench: RunBench) -> None:
    """A cursor that was not given out for this listing raises; it never begins somewhere in the middle."""
    await put(bench.store, *(idle(f"run_{i}", label="queued") for i in range(3)))
    cursor = (await bench.store.scan("queued", "", 1)).cursor
    every = (await bench.store.scan("", "", 1)).cursor
    assert cursor
    assert every
    for label, wrong in (("done", cursor), ("", cursor), ("queued", every), ("queued", "x"), ("queued", "1" * 30)):
        with pytest.raises(ValueError):
            await bench.store.scan(label, wrong, 1)


@pytest.mark.fault(70)
async def test_notification_is_heard_once(bench: RunBench) -> None:
    """The first makes the place due, in the same step; the second changes nothing, for as long as it is remembered."""
    await put(bench.store, idle())
    assert await bench.store.hear("w_1", LONG_MS, "run_1") is True
    assert await taken(bench.store, "a") == ["run_1"]
    one = await there(bench.store)
    assert await bench.peer.hear("w_1", LONG_MS, "run_1") is False
    await put(bench.store, a_put(expected=one.version, owner="a", then="release"))
    assert await taken(bench.store, "b") == [], "the second did not nudge"
    assert await bench.peer.hear("w_2", LONG_MS, "run_1") is True
    assert await taken(bench.store, "b") == ["run_1"]


@pytest.mark.fault(70)
async def test_notification_heard_a_hundred_times_at_once_is_new_once(bench: RunBench) -> None:
    """However many replicas get the same one."""
    stores = [bench.store, bench.peer]
    answers = await asyncio.gather(*(stores[i % 2].hear("w_1", LONG_MS, "run_1") for i in range(100)))
    assert answers.count(True) == 1


async def test_notification_of_what_does_not_stand_is_remembered_all_the_same(bench: RunBench) -> None:
    """It makes nothing, and its repetition is none the newer."""
    assert await bench.store.hear("w_1", LONG_MS, "run_9") is True
    assert await bench.store.read("run_9") is None
    assert await bench.store.hear("w_1", LONG_MS, "run_9") is False


async def test_notification_is_new_again_once_it_is_forgotten(bench: RunBench) -> None:
    """It is remembered for `keep_ms`."""
    await bench.store.hear("w_1", SHORT_MS, "run_1")
    await bench.pass_ms(SHORT_MS + 1)
    assert await bench.store.hear("w_1", LONG_MS, "run_1") is True
