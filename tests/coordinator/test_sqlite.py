"""What the coordinator's SQLite store adds to the contract: one owner at a time, and what the next one finds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.store import Delivery, Standing, Written
from coordinator.stores.sqlite import SqliteRunStore
from ledger.store import StoreUnavailable, UnfitStore
from ledger.stores.clock import Clock
from tests.coordinator.run_bench import LONG_MS, a_put, idle, put, taken, there
from tests.ledger import sqlite_bench
from tests.ledger.sqlite_bench import StallingClock, owned_by_another
from tests.ledger.store_bench import SteppedClock, eventually

OWNER = "tests.coordinator.sqlite_owner"


@contextlib.asynccontextmanager
async def opened(
    path: Path, *, deadline_ms: int = 20_000, bytes_max: int | None = None, clock: Clock | None = None
) -> AsyncIterator[SqliteRunStore]:
    """Yield a store on the file, started."""
    store = SqliteRunStore(str(path), deadline_ms=deadline_ms, bytes_max=bytes_max, clock=clock)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def all_deliveries(store: SqliteRunStore) -> dict[str, Delivery]:
    """Return what is delivered now to somebody new, by id."""
    return {delivery.id: delivery for delivery in await store.deliveries("new", 100_000, LONG_MS)}


async def all_letters(store: SqliteRunStore) -> set[str]:
    """Return the ids of all dead letters."""
    ids, cursor = set[str](), ""
    while True:
        letters, cursor = await store.letters(cursor, 500)
        ids |= {letter.id for letter in letters}
        if not cursor:
            return ids


@pytest.mark.fault(53, 64)
@pytest.mark.parametrize("acknowledgements", [1, 40, 400])
async def test_kill_9_during_commits_loses_nothing_acknowledged(tmp_path: Path, acknowledgements: int) -> None:
    """What was answered before a kill -9 is there after it: places, owned ones due at once, and accepted results,
    delivered again at once or dead letters."""
    path = tmp_path / "coordinator.db"
    with owned_by_another(path, clients=8, module=OWNER) as owner:
        acknowledged = owner.acknowledged(acknowledgements)
        acknowledged.update(owner.kill())
    async with opened(path) as store:
        due = set(await taken(store, limit=100_000))
        delivered, letters = await all_deliveries(store), await all_letters(store)
        for name, told in acknowledged.items():
            if name.startswith("run_"):
                standing = await there(store, name)
                # A step that was not answered yet may have been written all the same.
                assert standing.record in {told.encode(), b"done"}
                assert (name in due) is (standing.record == b"begun")
                assert (await there(store, name.replace("run_", "turn_"))).record == b"turn"
            elif told == "posted":
                last = name.rsplit("_", 1)[1]
                assert name in delivered or name in letters or int(last) % 2 == 0
            else:
                assert name not in delivered
                assert (name in letters) is (told == "buried")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_restart_makes_due_and_delivers_what_was_under_way(tmp_path: Path) -> None:
    """Owned places lose their owner and are due at once, deliveries come again at once and count on; what was never to
    fall due stays so, and a dead letter is one still."""
    path, clock = tmp_path / "coordinator.db", SteppedClock()
    async with opened(path, clock=clock) as store:
        await put(store, owned := a_put("owned", owner="a", then="keep", in_ms=LONG_MS), idle("idle"))
        await put(store, a_put("later", then="release", in_ms=LONG_MS))
        for entry_id in ("e_1", "e_2", "e_3"):
            await store.post(entry_id, entry_id.encode(), 10)
        await store.bury("e_1", "why", "detail")
        await store.deliveries("a", 1, LONG_MS)
        assert await store.hear("w_1", LONG_MS, "") is True
    clock.now_ms -= 2 * LONG_MS
    async with opened(path, clock=clock) as store:
        assert await store.read("owned") == Standing("owned", owned.version, b"record", "")
        assert sorted(await taken(store)) == ["later", "owned"]
        assert await store.deliveries("b", 10, LONG_MS) == [Delivery("e_2", b"e_2", 2), Delivery("e_3", b"e_3", 1)]
        assert await all_letters(store) == {"e_1"}
        assert await store.hear("w_1", LONG_MS, "") is False


async def test_listing_goes_on_over_a_restart(tmp_path: Path) -> None:
    """What is written later comes first, whichever life wrote it."""
    path = tmp_path / "coordinator.db"
    async with opened(path) as store:
        await put(store, idle("run_1", label="x"), idle("run_2", label="x"))
    async with opened(path) as store:
        await put(store, idle("run_3", label="x"))
        page = await store.scan("x", "", 2)
        assert [place.key for place in page.places] == ["run_3", "run_2"]
        assert [place.key for place in (await store.scan("x", page.cursor, 2)).places] == ["run_1"]


@pytest.mark.fault(54)
async def test_second_owner_of_a_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """Another process, or another store in this one: the refusal names file, pid and remedy; kill -9 frees it."""
    path = tmp_path / "coordinator.db"
    words = f"run store {path} belongs to a running process .pid"
    with owned_by_another(path, module=OWNER) as owner, pytest.raises(UnfitStore, match=f"{words} {owner.pid}"):
        await SqliteRunStore(str(path)).start()
    async with opened(path):
        with pytest.raises(UnfitStore, match=f"pid {os.getpid()}"):
            await SqliteRunStore(str(path)).start()
    async with opened(path):
        pass


@pytest.mark.fault(47)
async def test_ledger_and_run_store_are_never_taken_for_each_other(tmp_path: Path) -> None:
    """Each refuses the other's file, and leaves it as it is."""
    ledger, runs = tmp_path / "ledger.db", tmp_path / "coordinator.db"
    await sqlite_bench.make(ledger)
    async with opened(runs):
        pass
    before = ledger.read_bytes(), runs.read_bytes()
    with pytest.raises(UnfitStore, match="not a run store"):
        await SqliteRunStore(str(ledger)).start()
    assert "not a ledger" in await sqlite_bench.start_fails(runs)
    assert (ledger.read_bytes(), runs.read_bytes()) == before


@pytest.mark.fault(47)
async def test_file_that_is_no_whole_run_store_is_refused(tmp_path: Path) -> None:
    """Empty, or a newer program's: it is never taken for a new one."""
    path = tmp_path / "coordinator.db"
    path.write_bytes(b"")
    with pytest.raises(UnfitStore, match="the run store .* is empty.* accepted results are forgotten"):
        await SqliteRunStore(str(path)).start()
    path.unlink()
    async with opened(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UnfitStore, match="schema 99, this program knows 1"):
        await SqliteRunStore(str(path)).start()


@pytest.mark.fault(52)
async def test_full_disk_refuses_and_keeps_all_or_nothing(tmp_path: Path) -> None:
    """A swap that finds no room writes none of its places; reading, and what makes room, goes on."""
    path = tmp_path / "coordinator.db"
    async with opened(path, bytes_max=160 * 1024) as store:
        await put(store, idle("run_0"))
        written = 1

        async def fill() -> None:
            nonlocal written
            while True:
                large = [idle(f"run_{written + i}", record=b"x" * 8_000) for i in range(2)]
                assert await store.swap(*large) == Written()
                written += 2

        with pytest.raises(StoreUnavailable, match="full"):
            await fill()
        assert await store.read(f"run_{written}") is None
        assert await store.read(f"run_{written + 1}") is None
        assert (await there(store, f"run_{written - 1}")).record == b"x" * 8_000
        assert await taken(store) == []


async def test_places_of_one_swap_stay_together_when_a_value_is_refused(tmp_path: Path) -> None:
    """A value that SQLite does not take fails its own call, whole; others in the same transaction are written."""
    async with opened(tmp_path / "coordinator.db") as store:
        failing = store.swap(idle("run_1"), idle("run_\ud800"))
        late = store.swap(idle("run_2"), a_put("run_3", then="release", in_ms=2**70))
        good = store.swap(idle("run_4"))
        answers = await asyncio.gather(failing, late, good, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable, StoreUnavailable, Written]
        assert await store.read("run_1") is None
        assert await store.read("run_2") is None
        assert (await there(store, "run_4")).record == b"record"


async def test_calls_at_once_share_transactions(tmp_path: Path) -> None:
    """A hundred swaps at once are flushed to disk some few times, not a hundred."""
    async with opened(tmp_path / "coordinator.db") as store:
        assert store._writer is not None
        before = store._writer.transactions
        await asyncio.gather(*(put(store, a_put(f"run_{i}")) for i in range(100)))
        assert store._writer.transactions - before <= 4


async def test_what_is_forgotten_leaves_the_file(tmp_path: Path) -> None:
    """Places and notifications past their time are deleted by the writer, beside the calls."""
    clock = SteppedClock()
    path = tmp_path / "coordinator.db"
    async with opened(path, clock=clock) as store:
        for index in range(20):
            await put(store, a_put(f"run_{index}", forget_ms=10))
            await store.hear(f"w_{index}", 10, "")

        async def purged() -> bool:
            clock.now_ms += 10_000
            counts = await store._look(
                lambda tables, _: tables.places._execute(
                    "SELECT (SELECT count(*) FROM places), (SELECT count(*) FROM heard)"
                ).fetchone()
            )
            return bool(counts == (0, 0))

        await eventually(purged)


@pytest.mark.fault(46)
async def test_disk_that_hangs_fails_calls_in_time(tmp_path: Path) -> None:
    """A call ends within the deadline, and names the store; when the disk is back, so is the store."""
    clock = StallingClock()
    async with opened(tmp_path / "coordinator.db", deadline_ms=100, clock=clock) as store:
        clock.going.clear()
        with pytest.raises(StoreUnavailable, match="the SQLite run store did not answer within 100 ms"):
            await store.swap(idle("run_1"))
        clock.going.set()

        async def is_back() -> bool:
            with contextlib.suppress(StoreUnavailable):
                return await store.swap(idle("run_2")) == Written()
            return False

        await eventually(is_back)
