"""Effect keys, listings and heartbeats in a file: what they cost, what stays, and what an older file is made of."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import sqlite3
from pathlib import Path

import pytest

from ledger import records, result
from ledger.key import Ref
from ledger.records import Completed, Free, InFlight, Unknown
from ledger.store import EffectWrite, Held, StoreUnavailable, Written
from ledger.stores import sqlite_kind, sqlite_listing
from ledger.stores.sqlite import SqliteStore
from ledger.stores.sqlite_file import open_ledger
from ledger.stores.sqlite_places import Places, Swap
from tests.ledger.sqlite_bench import make, opened
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, put, there

OLD = Path(__file__).with_name("ledger-1.db.gz")
"""A ledger that the program wrote before it knew effect keys: one place in each state."""
CLAIM = EffectWrite("refund 7", "claim")


def old_ledger(folder: Path) -> Path:
    """Put the old file where a store of `folder` looks for it."""
    path = folder / "ledger.db"
    path.write_bytes(gzip.decompress(OLD.read_bytes()))
    return path


def count(path: Path, what: str) -> int:
    """Count in the file of a closed store."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0]
        return found


@pytest.mark.fault(60)
async def test_file_of_the_previous_version_is_carried_over_whole(tmp_path: Path) -> None:
    """Every record is read, a result is replayed, a lease falls due, and what is new works at once."""
    path = old_ledger(tmp_path)
    async with opened(tmp_path, clock=SteppedClock()) as store:
        standing = {}
        for place in (await store.scan(None, "", 10)).places:
            standing[place.ref.operation] = records.decode(place.record, place.ref.operation)
        assert {op: type(record) for op, record in standing.items()} == {
            "op_in_flight": InFlight,
            "op_unknown": Unknown,
            "op_listening": Unknown,
            "op_completed": Completed,
            "op_free": Free,
        }
        assert all(record.effect is None and record.plan is None for record in standing.values())
        kept = (await there(store, a_ref("op_completed"))).result
        assert kept is not None
        assert result.decode(kept).status == 201
        assert {ref.operation for ref in await store.due(10)} == {"op_in_flight", "op_listening"}
        assert (await store.unknowns())[0].count == 2
        assert len((await store.scan("unknown", "", 10)).places) == 2
        await put(store, a_ref("op_free"), a_write(effect=CLAIM))
        assert isinstance(await store.swap(a_ref("op_new"), None, a_write(effect=CLAIM)), Held)
        assert (await store.beat("p_1", 0, 1_000)).refusing_ms == 0
    async with opened(tmp_path, clock=SteppedClock()) as store:
        assert isinstance(await store.swap(a_ref("op_new"), None, a_write(effect=CLAIM)), Held)
    assert (count(path, "places"), count(path, "effects")) == (5, 1)


@pytest.mark.fault(60)
async def test_file_carried_over_looks_like_a_new_one(tmp_path: Path) -> None:
    """There is one schema, whatever way a file came to it."""

    def schema(path: Path) -> list[tuple[str, str]]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return sorted(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))

    (tmp_path / "new").mkdir()
    await make(tmp_path / "new" / "ledger.db")
    path = old_ledger(tmp_path)
    async with opened(tmp_path):
        pass
    assert schema(path) == schema(tmp_path / "new" / "ledger.db")


@pytest.mark.fault(52, 60)
async def test_file_that_cannot_be_carried_over_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the way or not at all: the program that wrote it can still be started."""
    path = old_ledger(tmp_path)
    monkeypatch.setitem(sqlite_kind._MIGRATIONS, 1, f"{sqlite_kind.ADDED_BY_2} CREATE TABLE places (another);")
    with pytest.raises(Exception, match="ledger"):
        await SqliteStore(str(path)).start()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError):
        count(path, "effects")
    assert count(path, "places") == 5


async def test_swap_without_an_effect_costs_no_further_statement(tmp_path: Path) -> None:
    """Most tools have no effect key: a claim and its settlement are one statement each, as before."""
    path = tmp_path / "ledger.db"
    await make(path)
    with contextlib.closing(open_ledger(path)) as connection:
        places = Places(connection, path)
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        claim, done = a_write(), a_write("completed", result=b"201")
        assert places.carry_out(Swap(a_ref("op_x"), None, claim), 1) == Written()
        assert places.carry_out(Swap(a_ref("op_x"), claim.version, done), 2) == Written()
        assert len(statements) == 2
        assert not any("effects" in statement for statement in statements)


async def test_effects_whose_window_is_over_are_purged_a_lot_at_a_time(tmp_path: Path) -> None:
    """A hold that has ended takes no space for long; one without end, or whose end is to come, stays."""
    path = tmp_path / "ledger.db"
    await make(path)
    with contextlib.closing(open_ledger(path)) as connection:
        places = Places(connection, path)
        for index in range(600):
            effect = EffectWrite(f"effect {index}", "window", window_ms=1_000)
            places.carry_out(Swap(a_ref(f"op_w{index}"), None, a_write("completed", effect=effect)), 1)
        longer = EffectWrite("longer", "window", window_ms=5_000)
        places.carry_out(Swap(a_ref("op_longer"), None, a_write("completed", effect=longer)), 1)
        places.carry_out(Swap(a_ref("op_held"), None, a_write(effect=CLAIM)), 1)
        assert [places.purge(2_000, 256) for _ in range(4)] == [256, 256, 88, 0]
    assert count(path, "effects") == 2


@pytest.mark.parametrize("phase", ["unknown", "in_flight"])
async def test_listing_by_phase_goes_by_its_index(tmp_path: Path, phase: str) -> None:
    """What operators look at most is found without reading the table, and in order without sorting it."""
    path = tmp_path / "ledger.db"
    await make(path)
    statement = sqlite_listing._UNKNOWN if phase == "unknown" else sqlite_listing._BY_LEASE
    values = {"phase": phase, "now": 1, "moment": 0, "number": 0, "rows": 10}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
    assert ("places_unknown_since" if phase == "unknown" else "places_due") in plan
    assert "TEMP B-TREE" not in plan


async def test_listing_of_few_among_many_is_bounded_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that finds next to nothing ends empty, and the listing goes on."""
    monkeypatch.setattr(sqlite_listing, "LOOKED_AT_MAX", 10)
    async with opened(tmp_path) as store:
        for index in range(35):
            await put(store, a_ref(f"op_{index}"), a_write("free" if index == 33 else "completed"))
        pages = [await store.scan("free", "", 5)]
        while pages[-1].cursor:
            pages.append(await store.scan("free", pages[-1].cursor, 5))
    assert [[place.ref.operation for place in page.places] for page in pages] == [[], [], [], ["op_33"]]


@pytest.mark.fault(45)
@pytest.mark.parametrize("how", ["replaced", "removed"])
async def test_file_that_is_replaced_under_its_owner_has_it_refuse_until_a_restart(tmp_path: Path, how: str) -> None:
    """What would be written from then on goes to a file that nobody finds any more: accepting does not help."""
    path = tmp_path / "ledger.db"
    await make(path)
    async with opened(tmp_path) as store:
        acknowledged = (await store.beat("p_1", 0, 60_000)).count
        if how == "replaced":
            shutil.copy(path, tmp_path / "backup.db")
            (tmp_path / "backup.db").rename(path)
        else:
            path.unlink()
        for _ in range(2):
            beat = await store.beat("p_1", acknowledged, 60_000)
            assert beat.refusing_ms > 0
            acknowledged = beat.count
            await store.accept()


@pytest.mark.fault(45)
async def test_refusal_survives_a_restart(tmp_path: Path) -> None:
    """A new process on the same file is told as the one before was; so is it of an operator's word."""
    clock = SteppedClock()
    async with opened(tmp_path, clock=clock) as store:
        assert (await store.beat("p_1", 5, 60_000)).refusing_ms == 60_000
    clock.now_ms += 10_000
    async with opened(tmp_path, clock=clock) as store:
        assert (await store.beat("p_2", 0, 60_000)).refusing_ms == 50_000
        await store.accept()
    async with opened(tmp_path, clock=clock) as store:
        assert (await store.beat("p_3", 0, 60_000)).refusing_ms == 0


async def test_counts_of_processes_long_gone_are_deleted_at_start(tmp_path: Path) -> None:
    """Every start is a process of another name: their counts do not pile up."""
    clock = SteppedClock()
    for index in range(3):
        async with opened(tmp_path, clock=clock) as store:
            await store.beat(f"p_{index}", 0, 1_000)
        clock.now_ms += 13 * 3_600_000
    assert count(tmp_path / "ledger.db", "beats") == 1


@pytest.mark.fault(52)
async def test_effect_key_that_cannot_be_written_leaves_its_place_unwritten(tmp_path: Path) -> None:
    """Both or neither, also where the key is no text that SQLite takes; and other calls go on."""
    async with opened(tmp_path) as store:
        claim = a_write()
        await put(store, a_ref(), claim)
        for hold in ("claim", "keep", "drop"):
            with pytest.raises(StoreUnavailable):
                await store.swap(a_ref(), claim.version, a_write(effect=EffectWrite("\ud800", hold)))
        assert (await there(store, a_ref())).version == claim.version
        assert await store.read(Ref("acme/create_ticket", "op_2")) is None
