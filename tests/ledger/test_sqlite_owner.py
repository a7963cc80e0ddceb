"""One owner at a time, and what the next one finds: after kill -9, after a restart, beside another program."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from ledger.key import Ref
from ledger.store import StoreUnavailable, UnfitStore, UnknownCount
from ledger.stores.sqlite import SqliteStore
from tests.ledger.sqlite_bench import make, owned_by_another, start_fails
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, put, there


@pytest.mark.fault(53)
@pytest.mark.parametrize("acknowledgements", [1, 40, 400])
async def test_kill_9_during_commits_loses_nothing_acknowledged(tmp_path: Path, acknowledgements: int) -> None:
    """Whatever was answered before a kill -9 is there after it, in its newest form, and what was in flight is due."""
    path = tmp_path / "ledger.db"
    with owned_by_another(path, clients=8) as owner:
        acknowledged = owner.acknowledged(acknowledgements)
        acknowledged.update(owner.kill())
    store = SqliteStore(str(path), deadline_ms=20_000)
    await store.start()
    due = {ref.operation for ref in await store.due(1_000)}
    for operation, version in acknowledged.items():
        standing = await there(store, a_ref(operation))
        settled = standing.version == f"{operation}_done"
        # A settle that was not answered yet may have been written all the same.
        assert standing.version == version or settled
        assert (standing.result is not None) is settled
        assert (operation in due) is not settled
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.fault(53)
async def test_killed_again_and_again_keeps_every_acknowledgement(tmp_path: Path) -> None:
    """Recovery can itself be followed by the next kill."""
    path = tmp_path / "ledger.db"
    acknowledged: dict[str, str] = {}
    for life in range(3):
        with owned_by_another(path, prefix=f"life{life}_", clients=4) as owner:
            acknowledged.update(owner.acknowledged(30))
            acknowledged.update(owner.kill())
    store = SqliteStore(str(path), deadline_ms=20_000)
    await store.start()
    for operation, version in acknowledged.items():
        assert (await there(store, a_ref(operation))).version in {version, f"{operation}_done"}
    await store.close()


async def test_restart_finds_results_ages_and_makes_leases_due(tmp_path: Path) -> None:
    """What a previous owner left in flight falls due at start, longest leases too; all else is as it was."""
    clock = SteppedClock()
    store = SqliteStore(str(tmp_path / "ledger.db"), clock=clock)
    await store.start()
    await put(store, a_ref("op_flying"), a_write(lease_ms=3_600_000))
    await put(store, a_ref("op_listening"), a_write("unknown", lease_ms=3_600_000))
    await put(store, a_ref("op_unknown"), a_write("unknown"))
    done = a_write("completed", record=b"done", result=b"reply", result_ms=60_000)
    await put(store, a_ref("op_done"), done)
    await store.close()

    clock.now_ms += 1_000
    again = SqliteStore(str(tmp_path / "ledger.db"), clock=clock)
    await again.start()
    assert {ref.operation for ref in await again.due(10)} == {"op_flying", "op_listening"}
    assert (await there(again, a_ref("op_flying"))).lease_left_ms == 0
    standing = await there(again, a_ref("op_done"))
    assert (standing.version, standing.record, standing.result) == (done.version, b"done", b"reply")
    assert await again.unknowns() == [UnknownCount(a_ref().scope, 2, 1_000)]
    await again.close()


async def test_wall_clock_set_back_between_two_owners_still_makes_leases_due(tmp_path: Path) -> None:
    """A lease of the previous owner may end in what is now the future: it is due all the same; no age is negative."""
    clock = SteppedClock()
    store = SqliteStore(str(tmp_path / "ledger.db"), clock=clock)
    await store.start()
    await put(store, a_ref("op_flying"), a_write())
    await put(store, a_ref("op_unknown"), a_write("unknown"))
    await store.close()
    clock.now_ms -= 3_600_000
    again = SqliteStore(str(tmp_path / "ledger.db"), clock=clock)
    await again.start()
    assert await again.due(10) == [a_ref("op_flying")]
    assert await again.unknowns() == [UnknownCount(a_ref().scope, 1, 0)]
    await again.close()


@pytest.mark.fault(54)
async def test_second_process_on_a_file_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """The refusal names the file, the owner's pid and the remedy; kill -9 of the owner frees the file at once."""
    path = tmp_path / "ledger.db"
    with owned_by_another(path) as owner:
        why = await start_fails(path)
        assert f"pid {owner.pid}" in why
        assert "one process owns a file" in why
        assert "--store" in why
    store = SqliteStore(str(path))
    await store.start()
    await store.close()


@pytest.mark.fault(54)
async def test_second_store_in_one_process_is_refused_too(tmp_path: Path) -> None:
    """The owner is the store, not the process; closing it lets the next one in."""
    path = tmp_path / "ledger.db"
    first = SqliteStore(str(path))
    await first.start()
    assert f"pid {os.getpid()}" in await start_fails(path)
    await first.close()
    await make(path)


@pytest.mark.fault(54)
async def test_file_under_another_name_is_the_same_file(tmp_path: Path) -> None:
    """A symbolic link does not make a second ledger; nor does a hard link, which SQLite's own lock catches."""
    path = tmp_path / "ledger.db"
    with owned_by_another(path):
        (tmp_path / "soft.db").symlink_to(path)
        with pytest.raises(UnfitStore, match="pid"):
            await SqliteStore(str(tmp_path / "soft.db")).start()
        (tmp_path / "hard.db").hardlink_to(path)
        with pytest.raises(StoreUnavailable, match="another program holds it open"):
            await SqliteStore(str(tmp_path / "hard.db")).start()


@pytest.mark.fault(51)
async def test_file_that_another_program_holds_open_is_unavailable(tmp_path: Path) -> None:
    """A shell or a backup at work when Holdfast starts: no claim is taken, the words say why, and waiting helps."""
    path = tmp_path / "ledger.db"
    await make(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another program holds it open"):
            await SqliteStore(str(path)).start()
        shell.execute("ROLLBACK")
    await make(path, places=0)


@pytest.mark.fault(51)
async def test_no_other_program_can_come_in_the_way_of_a_running_store(tmp_path: Path) -> None:
    """While a store runs, its file is locked against everybody: `database is locked` is theirs, never ours."""
    path = tmp_path / "ledger.db"
    with owned_by_another(path, clients=1) as owner:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as shell:
            for statement in ("SELECT count(*) FROM places", "DELETE FROM places"):
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    shell.execute(statement)
        assert len(owner.acknowledged(50)) == 25


async def test_refs_written_by_one_life_are_found_by_the_next(tmp_path: Path) -> None:
    """Odd names survive the file as they do the store."""
    path, ref = tmp_path / "a ? b # c % d.db", Ref("ünï/çødé", "op_🎫 '\"")
    store = SqliteStore(str(path))
    await store.start()
    await put(store, ref, a_write(record=b"odd"))
    await store.close()
    again = SqliteStore(str(path))
    await again.start()
    assert (await there(again, ref)).record == b"odd"
    await again.close()
