"""What the SQLite store adds to the contract while it runs: disks that fill and fail, tidying up, a good end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.store import Present, StoreUnavailable, UnfitStore, Write, Written
from ledger.stores.sqlite import SqliteStore
from tests.ledger.sqlite_bench import is_back, on_disk, opened
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, eventually, put, there

KIB = 1024


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """Have the kernel refuse writes past `size` bytes of any file, as a disk that fails would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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


@pytest.mark.fault(52)
async def test_start_on_a_full_disk_fails_and_lets_go(tmp_path: Path) -> None:
    """Where not even the owner's name can be written there is no start; with room, the next try has the file."""
    store = SqliteStore(str(tmp_path / "ledger.db"))
    for size in (0, KIB):
        with no_file_grows_beyond(size), pytest.raises((StoreUnavailable, UnfitStore)):
            await store.start()
    await store.start()
    assert await store.read(a_ref()) is None
    await store.close()


async def test_close_finishes_what_was_asked(tmp_path: Path) -> None:
    """Calls under way when the store is closed are answered, and what they wrote is there."""
    async with opened(tmp_path) as store:
        claims = [asyncio.ensure_future(store.swap(a_ref(f"op_{i}"), None, a_write())) for i in range(50)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*claims) == [Written()] * 50
    async with opened(tmp_path) as again:
        assert len([i for i in range(50) if await again.read(a_ref(f"op_{i}"))]) == 50


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
