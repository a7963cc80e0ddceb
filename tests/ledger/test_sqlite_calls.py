"""Calls in groups: who shares a transaction, who fails alone, and what a stalled disk does to those who wait."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from ledger.store import StoreUnavailable, Written
from ledger.stores import sqlite_calls
from ledger.stores.sqlite import SqliteStore
from ledger.stores.sqlite_places import Answer, Places, Swap, Work
from tests.ledger.sqlite_bench import StallingClock, is_back, on_disk, opened, stall
from tests.ledger.store_bench import a_ref, a_write, eventually


@pytest.mark.loops("asyncio", "uvloop")
async def test_calls_that_wait_share_a_transaction(tmp_path: Path) -> None:
    """A hundred claims asked in one turn of the loop are one transaction: one flush for all of them."""
    async with opened(tmp_path) as store:
        assert store._writer is not None
        before = store._writer.transactions
        answers = await asyncio.gather(*(store.swap(a_ref(f"op_{i}"), None, a_write()) for i in range(100)))
        assert answers == [Written()] * 100
        assert store._writer.transactions == before + 1


async def test_group_is_bounded_and_the_rest_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More calls than fit in a group are answered by the next ones, in order."""
    monkeypatch.setattr(sqlite_calls, "GROUP_MAX", 10)
    async with opened(tmp_path) as store:
        assert store._writer is not None
        before = store._writer.transactions
        answers = await asyncio.gather(*(store.swap(a_ref(f"op_{i}"), None, a_write()) for i in range(95)))
        assert answers == [Written()] * 95
        assert store._writer.transactions == before + 10


async def test_reads_alone_begin_no_transaction(tmp_path: Path) -> None:
    """Reading costs no flush, and works where nothing can be written."""
    async with opened(tmp_path) as store:
        assert store._writer is not None
        before = store._writer.transactions
        await asyncio.gather(store.read(a_ref()), store.due(10), store.unknowns(), store.watch(a_ref()))
        assert store._writer.transactions == before


async def test_call_that_cannot_be_carried_out_spoils_no_other(tmp_path: Path) -> None:
    """A value that SQLite does not take fails its own call; the others of its transaction are written."""
    async with opened(tmp_path) as store:
        bad = [
            store.swap(a_ref("op_\ud800"), None, a_write()),
            store.swap(a_ref("op_far"), None, a_write(lease_ms=2**70)),
            store.due(2**70),
        ]
        good = [store.swap(a_ref(f"op_{i}"), None, a_write()) for i in range(3)]
        calls = [bad[0], good[0], bad[1], good[1], bad[2], good[2]]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(answer, StoreUnavailable) for answer in answers] == [True, False] * 3
        assert answers[1::2] == [Written()] * 3
        for index in range(3):
            assert await store.read(a_ref(f"op_{index}")) is not None


@pytest.mark.fault(46)
@pytest.mark.loops("asyncio", "uvloop")
async def test_stalled_disk_fails_calls_within_their_deadline(tmp_path: Path) -> None:
    """Calls behind a disk that hangs end as unavailable, those under way and those that wait; then it goes on."""
    clock = StallingClock()
    async with opened(tmp_path, clock=clock, deadline_ms=50) as store:
        reading = await stall(store, clock)
        claims = [asyncio.ensure_future(store.swap(a_ref(f"op_{i}"), None, a_write())) for i in range(10)]
        answers = await asyncio.gather(reading, *claims, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) and "within 50 ms" in str(answer) for answer in answers)
        clock.going.set()
        await eventually(lambda: is_back(store))


@pytest.mark.fault(46)
async def test_claim_that_was_given_up_before_it_began_is_never_made(tmp_path: Path) -> None:
    """Nobody would settle it: it would lapse into an unknown outcome of a call that was never sent."""
    clock = StallingClock()
    async with opened(tmp_path, clock=clock, deadline_ms=200) as store:
        reading = await stall(store, clock)
        cancelled = asyncio.ensure_future(store.swap(a_ref("op_cancelled"), None, a_write()))
        timed_out = asyncio.ensure_future(store.swap(a_ref("op_timed_out"), None, a_write()))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(reading, cancelled, timed_out, return_exceptions=True)
        assert isinstance(timed_out.exception(), StoreUnavailable)
        clock.going.set()
        await eventually(lambda: is_back(store))
        assert await store.read(a_ref("op_timed_out")) is None
        assert await store.read(a_ref("op_cancelled")) is None


@pytest.mark.fault(46)
async def test_claim_that_was_given_up_in_its_stalled_group_is_never_made(tmp_path: Path) -> None:
    """The same for one that the writer had been given already, but had not come to."""
    clock = StallingClock()
    async with opened(tmp_path, clock=clock, deadline_ms=200) as store:
        clock.going.clear()
        claim = asyncio.ensure_future(store.swap(a_ref("op_timed_out"), None, a_write()))
        await asyncio.wait([claim])
        assert isinstance(claim.exception(), StoreUnavailable)
        clock.going.set()
        await eventually(lambda: is_back(store))
        assert await store.read(a_ref("op_timed_out")) is None


async def test_claim_that_was_cancelled_while_it_waited_is_never_made(tmp_path: Path) -> None:
    """A caller that is gone before its turn takes its call with it, and only its own."""
    clock = StallingClock()
    async with opened(tmp_path, clock=clock) as store:
        reading = await stall(store, clock)
        claims = [asyncio.ensure_future(store.swap(a_ref(f"op_{i}"), None, a_write())) for i in range(3)]
        await asyncio.sleep(0)
        claims[1].cancel()
        await asyncio.sleep(0)
        clock.going.set()
        await asyncio.gather(reading, *claims, return_exceptions=True)
        assert [await store.read(a_ref(f"op_{i}")) is not None for i in range(3)] == [True, False, True]


async def test_group_that_meets_the_unforeseen_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody thought of, half-way through a group, fails the group and is logged; the store goes on."""
    async with opened(tmp_path) as store:
        with monkeypatch.context() as patched:
            carry_out = Places.carry_out

            def failing(places: Places, work: Work, now: int) -> Answer:
                if isinstance(work, Swap) and work.ref.operation == "op_2":
                    raise MemoryError
                return carry_out(places, work, now)

            patched.setattr(Places, "carry_out", failing)
            calls = [store.swap(a_ref(f"op_{i}"), None, a_write()) for i in range(4)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) and "MemoryError" in str(answer) for answer in answers)
        assert [await store.read(a_ref(f"op_{i}")) for i in range(4)] == [None] * 4
        assert await store.swap(a_ref("op_1"), None, a_write()) == Written()
    assert "does not know" in caplog.text
    assert on_disk(tmp_path, "TRUE") == 1


@pytest.mark.fault(46)
async def test_too_many_waiting_calls_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a stalled disk the queue is bounded; what it cannot take fails without waiting, and holds no memory."""
    monkeypatch.setattr(sqlite_calls, "WAITING_MAX", 5)
    clock = StallingClock()
    async with opened(tmp_path, clock=clock) as store:
        reading = await stall(store, clock)
        waiting = [asyncio.ensure_future(store.swap(a_ref(f"op_{i}"), None, a_write())) for i in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="overloaded"):
            await store.swap(a_ref("op_surplus"), None, a_write())
        assert not any(call.done() for call in waiting)
        clock.going.set()
        assert await asyncio.gather(*waiting) == [Written()] * 5
        await reading


@pytest.mark.fault(58)
async def test_answer_that_came_while_the_loop_was_blocked_counts(tmp_path: Path) -> None:
    """The deadline is the disk's: an event loop that was held up finds the answer, not a time-out."""
    async with opened(tmp_path, deadline_ms=50) as store:
        claim = asyncio.ensure_future(store.swap(a_ref(), None, a_write()))
        await asyncio.sleep(0)  # asked
        await asyncio.sleep(0)  # handed over
        assert store._calls is not None
        group = store._calls._under_way
        assert group is not None
        over = time.monotonic() + 0.1
        while not group.answered or time.monotonic() < over:
            time.sleep(0.01)  # the fault itself: the loop is blocked, for longer than the deadline
        assert await claim == Written()


async def test_close_behind_a_stalled_disk_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process can end although its disk hangs: calls fail at their deadline, and closing gives up, with a word."""
    monkeypatch.setattr("ledger.stores.sqlite_lifetime.CLOSE_S", 0.05)
    clock = StallingClock()
    store = SqliteStore(str(tmp_path / "ledger.db"), clock=clock, deadline_ms=50)
    await store.start()
    assert store._writer is not None
    writer = store._writer
    reading = await stall(store, clock)
    await store.close()
    assert isinstance(reading.exception(), StoreUnavailable)
    assert "did not close in time" in caplog.text
    clock.going.set()
    async with asyncio.timeout(20):
        await writer._ended.wait()
