"""What the SQLite store adds to the contract while it runs: groups, deadlines, limits, and disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ledger.store import Present, StoreUnavailable, Write, Written
from ledger.stores import sqlite_calls
from ledger.stores.clock import Clock
from ledger.stores.sqlite import SqliteStore
from ledger.stores.sqlite_places import Answer, Places, Swap, Work
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, eventually, put, there

KIB = 1024


@contextlib.asynccontextmanager
async def opened(
    folder: Path, *, deadline_ms: int = 20_000, bytes_max: int | None = None, clock: Clock | None = None
) -> AsyncIterator[SqliteStore]:
    """Yield a store on the folder's ledger, started."""
    store = SqliteStore(str(folder / "ledger.db"), deadline_ms=deadline_ms, bytes_max=bytes_max, clock=clock)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


class StallingClock(SteppedClock):
    """A clock that can hold up who asks it: the writer's thread, as a disk that hangs would."""

    def __init__(self) -> None:
        super().__init__()
        self.going = threading.Event()
        self.going.set()
        self.held = threading.Event()

    def __call__(self) -> int:
        """Return the time, once it goes on."""
        if not self.going.is_set():
            self.held.set()
            assert self.going.wait(30), "the test never let the clock go on"
        return super().__call__()


async def stall(store: SqliteStore, clock: StallingClock) -> asyncio.Future[Present | None]:
    """Hold the writer up in a read; return when it hangs there."""
    clock.held.clear()
    clock.going.clear()
    reading = asyncio.ensure_future(store.read(a_ref("op_stalled")))
    async with asyncio.timeout(20):
        await asyncio.to_thread(clock.held.wait)
    return reading


async def is_back(store: SqliteStore, record: bytes = b"record") -> bool:
    """Say whether a write succeeds now."""
    with contextlib.suppress(StoreUnavailable):
        standing = await store.read(a_ref("op_back"))
        version = standing.version if standing else None
        return await store.swap(a_ref("op_back"), version, a_write(record=record)) == Written()
    return False


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Have the kernel refuse writes past `size` bytes of any file, as a disk that fails would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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


@pytest.mark.fault(52)
async def test_full_disk_refuses_the_claim_and_recovers(tmp_path: Path) -> None:
    """Claims that do not fit are refused, whole; what was acknowledged is there; room that is freed is used again."""
    clock = SteppedClock()
    async with opened(tmp_path, clock=clock, bytes_max=256 * KIB) as store:
        acknowledged: list[Write] = []

        async def fill() -> None:
            for index in range(100):
                done = a_write("completed", result=b"x" * 8 * KIB, forget_ms=10_000)
                assert await store.swap(a_ref(f"op_{index}"), None, done) == Written()
                acknowledged.append(done)

        with pytest.raises(StoreUnavailable, match="full"):
            await fill()
        assert len(acknowledged) > 10
        for index, done in enumerate(acknowledged):
            assert (await there(store, a_ref(f"op_{index}"))).version == done.version
        assert await store.read(a_ref(f"op_{len(acknowledged)}")) is None
        assert isinstance(await store.swap(a_ref("op_0"), None, a_write()), Present), "a replay needs no room"

        clock.now_ms += 10_000

        await eventually(lambda: is_back(store, b"x" * 32 * KIB))


@pytest.mark.fault(52)
async def test_group_that_does_not_fit_fails_as_one(tmp_path: Path) -> None:
    """All calls of a transaction that failed are told so, and none of them left anything behind."""
    async with opened(tmp_path, bytes_max=256 * KIB) as store:
        await put(store, a_ref("op_before"), a_write())
        calls = [store.swap(a_ref(f"op_{i}"), None, a_write(record=b"x" * 8 * KIB)) for i in range(100)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert [await store.read(a_ref(f"op_{i}")) for i in range(100)] == [None] * 100
        assert await store.read(a_ref("op_before")) is not None
        assert await store.swap(a_ref("op_0"), None, a_write()) == Written()


@pytest.mark.fault(52)
async def test_disk_that_fails_to_write_refuses_and_recovers(tmp_path: Path) -> None:
    """An error of the disk in the middle of a commit fails that group; when the disk is back, so is the store."""
    async with opened(tmp_path) as store:
        claim = a_write()
        await put(store, a_ref("op_before"), claim)
        with no_file_grows_beyond(64 * KIB):
            big = a_write("completed", record=b"x" * 256 * KIB)
            with pytest.raises(StoreUnavailable, match="SQLITE_"):
                await store.swap(a_ref("op_before"), claim.version, big)
            assert (await there(store, a_ref("op_before"))).version == claim.version
        done = a_write("completed")
        assert await store.swap(a_ref("op_before"), claim.version, done) == Written()
    async with opened(tmp_path) as again:
        assert (await there(again, a_ref("op_before"))).version == done.version


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


async def test_close_finishes_what_was_asked(tmp_path: Path) -> None:
    """Calls under way when the store is closed are answered, and what they wrote is there."""
    async with opened(tmp_path) as store:
        claims = [asyncio.ensure_future(store.swap(a_ref(f"op_{i}"), None, a_write())) for i in range(50)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*claims) == [Written()] * 50
    async with opened(tmp_path) as again:
        assert len([i for i in range(50) if await again.read(a_ref(f"op_{i}"))]) == 50


async def test_close_behind_a_stalled_disk_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process can end although its disk hangs: calls fail at their deadline, and closing gives up, with a word."""
    monkeypatch.setattr("ledger.stores.sqlite.CLOSE_S", 0.05)
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


def on_disk(folder: Path, where: str) -> int:
    """Count places in the file of a closed store."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.db")) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM places WHERE {where}").fetchone()[0]
        return count


async def test_outlived_results_and_places_are_deleted_in_bounded_lots(tmp_path: Path) -> None:
    """What may no longer be handed out goes from the disk as well, a bounded lot behind a call, and nothing else."""
    clock = SteppedClock()

    async def live(rounds: int) -> None:
        async with opened(tmp_path, clock=clock) as store:
            for _ in range(rounds):
                clock.now_ms += 1_000
                await store.read(a_ref())

    async with opened(tmp_path, clock=clock) as store:
        done = [a_write("completed", result=b"reply", result_ms=10_000, forget_ms=50_000) for _ in range(600)]
        await asyncio.gather(*(store.swap(a_ref(f"op_{i}"), None, write) for i, write in enumerate(done)))
        await put(store, a_ref("op_kept"), a_write("completed", result=b"reply", result_ms=10_000))
        await put(store, a_ref("op_whole"), a_write("completed", result=b"reply", forget_ms=90_000))
    clock.now_ms += 10_000
    await live(1)
    assert on_disk(tmp_path, "result IS NOT NULL") == 602 - 256
    await live(2)
    assert on_disk(tmp_path, "result IS NOT NULL") == 1
    assert on_disk(tmp_path, "TRUE") == 602
    clock.now_ms += 40_000
    await live(3)
    assert on_disk(tmp_path, "TRUE") == 2
    assert on_disk(tmp_path, "purge_ms IS NOT NULL") == 1


async def test_idle_store_tidies_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody asking for anything, what is outlived goes, and the log is folded into the file."""
    monkeypatch.setattr("ledger.stores.sqlite_writer.IDLE_S", 0.01)
    clock = SteppedClock()
    async with opened(tmp_path, clock=clock) as store:
        await put(store, a_ref("op_1"), a_write("completed", forget_ms=10))
        await put(store, a_ref("op_2"), a_write("completed"))
        assert store._writer is not None
        writer = store._writer
        clock.now_ms += 5_000

        async def tidied() -> bool:
            return writer._purge_at_ms > clock.now_ms and writer._folded == writer.transactions

        await eventually(tidied)
        copy = tmp_path / "without_log"
        copy.mkdir()
        # By another process: closing the file in this one would drop SQLite's own locks.
        subprocess.run(["cp", tmp_path / "ledger.db", copy], check=True)
    assert on_disk(copy, "operation = 'op_1'") == 0
    assert on_disk(copy, "operation = 'op_2'") == 1


@pytest.mark.fault(48)
async def test_wall_clock_that_jumps_lapses_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall is read once, at start; an hour's step forward or back makes nothing due and keeps nothing from it."""
    async with opened(tmp_path) as store:
        await put(store, a_ref("op_long"), a_write(lease_ms=60_000))
        await put(store, a_ref("op_short"), a_write(lease_ms=20))
        real = time.time_ns
        for hours in (1, -1):
            monkeypatch.setattr(time, "time_ns", lambda hours=hours: real() + hours * 3_600_000_000_000)

            async def lapsed() -> bool:
                return await store.due(10) == [a_ref("op_short")]

            await eventually(lapsed)
            left = (await there(store, a_ref("op_long"))).lease_left_ms
            assert left is not None
            assert 0 < left <= 60_000


async def test_many_refs_under_one_operation_are_told_apart(tmp_path: Path) -> None:
    """The place is scope and operation, although a watcher hears the operation alone."""
    async with opened(tmp_path) as store:
        await put(store, a_ref("op_1", "a/x"), a_write(record=b"a"))
        await put(store, a_ref("op_1", "b/x"), a_write(record=b"b"))
        assert [(await there(store, a_ref("op_1", scope))).record for scope in ("a/x", "b/x")] == [b"a", b"b"]
