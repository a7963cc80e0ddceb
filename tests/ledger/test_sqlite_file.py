"""The ledger's file: one owner, whole after kill -9, and never taken for a new one when it is not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.key import Ref
from ledger.store import StoreUnavailable, UnfitStore, UnknownCount
from ledger.stores import sqlite_file
from ledger.stores.sqlite import SqliteStore
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, put, there

NOBODY = 65534
ROOT = Path(__file__).parents[2]


class Owner:
    """Another process that owns the ledger at `path`, with `clients` writing as fast as they can."""

    def __init__(self, path: Path, prefix: str = "op", clients: int = 0) -> None:
        command = [sys.executable, "-m", "tests.ledger.sqlite_owner", str(path), prefix, str(clients)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        assert self._lines.readline() == "ready\n"

    def acknowledged(self, count: int) -> dict[str, str]:
        """Return the newest acknowledged version by operation, once there were `count` acknowledgements."""
        return dict(self._lines.readline().split() for _ in range(count))

    def kill(self) -> dict[str, str]:
        """End it with kill -9; return what it had acknowledged, unread, until then."""
        self._process.send_signal(signal.SIGKILL)
        rest = [line.split() for line in self._lines if line.endswith("\n")]
        self._process.wait()
        self._lines.close()
        return dict(rest)


@contextlib.contextmanager
def owned_by_another(path: Path, clients: int = 0) -> Iterator[Owner]:
    """Have another process own the ledger at `path`."""
    owner = Owner(path, clients=clients)
    try:
        yield owner
    finally:
        owner.kill()


async def start_fails(path: Path) -> str:
    """Return why a start on `path` is unfit, in words that name the file."""
    with pytest.raises(UnfitStore) as failure:
        await SqliteStore(str(path)).start()
    assert str(path) in str(failure.value)
    return str(failure.value)


async def make(path: Path, places: int = 1) -> None:
    """Leave a ledger of some completed calls, closed."""
    store = SqliteStore(str(path), deadline_ms=20_000)
    await store.start()
    for index in range(places):
        await put(store, a_ref(f"op_{index}"), a_write("completed", record=b"x" * 400))
    await store.close()


@pytest.mark.fault(53)
@pytest.mark.parametrize("acknowledgements", [1, 40, 400])
async def test_kill_9_during_commits_loses_nothing_acknowledged(tmp_path: Path, acknowledgements: int) -> None:
    """Whatever was answered before a kill -9 is there after it, in its newest form, and what was in flight is due."""
    path = tmp_path / "ledger.db"
    owner = Owner(path, clients=8)
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
        owner = Owner(path, prefix=f"life{life}_", clients=4)
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
    owner = Owner(path)
    why = await start_fails(path)
    assert f"pid {owner.pid}" in why
    assert "one process owns a file" in why
    assert "--store" in why
    owner.kill()
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


def garbage(path: Path) -> None:
    """Overwrite everything."""
    path.write_bytes(os.urandom(path.stat().st_size))


def bad_header(path: Path) -> None:
    """Overwrite the header."""
    path.write_bytes(b"\x00" * 100 + path.read_bytes()[100:])


def cut_to_half(path: Path) -> None:
    """Cut the file in two."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed_page(path: Path) -> None:
    """Wipe a page in the middle, as a failing disk does."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = bytes(4096)
    path.write_bytes(data)


def emptied(path: Path) -> None:
    """Leave no byte."""
    path.write_bytes(b"")


def another_programs(path: Path) -> None:
    """Put somebody else's database there."""
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE places (mine)")


def a_text(path: Path) -> None:
    """Put something there that never was a database."""
    path.write_text("holdfast: ledger\n" * 1000)


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (garbage, "not a SQLite database"),
        (bad_header, "not a SQLite database"),
        (cut_to_half, "damaged"),
        (zeroed_page, "damaged"),
        (emptied, "is empty"),
        (another_programs, "another program's database"),
        (a_text, "not a SQLite database"),
    ],
)
async def test_file_that_is_no_whole_ledger_is_refused_and_left_as_it_is(
    tmp_path: Path, harm: object, words: str
) -> None:
    """It is never taken for an empty ledger, which would be forgetting every call, nor written to."""
    path = tmp_path / "ledger.db"
    await make(path, places=50)
    assert callable(harm)
    harm(path)
    before = path.read_bytes()
    assert words in await start_fails(path)
    assert words in await start_fails(path)
    assert path.read_bytes() == before


@pytest.mark.fault(47)
async def test_damage_found_at_work_is_unavailable_and_never_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is not checked whole at start: where a page proves damaged, calls fail, and none finds nothing."""
    path = tmp_path / "ledger.db"
    await make(path, places=200)
    page = dict(_roots(path))["places_ref"]
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = bytes(4096)
    path.write_bytes(data)
    monkeypatch.setattr(sqlite_file, "QUICK_CHECK_BYTES_MAX", 0)
    store = SqliteStore(str(path))
    await store.start()
    for call in (store.read(a_ref("op_1")), store.swap(a_ref("op_1"), None, a_write())):
        with pytest.raises(StoreUnavailable, match="damaged"):
            await call
    await store.close()


def _roots(path: Path) -> list[tuple[str, int]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.execute("SELECT name, rootpage FROM sqlite_master"))


async def test_ledger_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    """A schema that this program does not know is not guessed at."""
    path = tmp_path / "ledger.db"
    await make(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    assert "schema 2, this program knows 1" in await start_fails(path)


async def test_log_without_its_ledger_is_refused(tmp_path: Path) -> None:
    """A log that is left over holds acknowledged writes: starting a new ledger beside it would lose them for good."""
    path = tmp_path / "ledger.db"
    with owned_by_another(path, clients=1) as owner:
        owner.acknowledged(10)
    path.unlink()
    assert "missing while its log" in await start_fails(path)
    assert Path(f"{path}-wal").stat().st_size > 0


async def test_creation_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    """A ledger comes into its place whole or not at all: what a kill -9 left of making one is thrown away."""
    path = tmp_path / "ledger.db"
    Path(f"{path}.new").write_bytes(b"half a ledger")
    Path(f"{path}.new-journal").write_bytes(b"and its journal")
    await make(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ledger.db", "ledger.db.lock"]


async def test_ledger_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Results may hold what is nobody else's business: the file, its log and its lock are private."""
    path = tmp_path / "ledger.db"
    store = SqliteStore(str(path))
    await store.start()
    await put(store, a_ref(), a_write())
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db.lock": 0o600}
    await store.close()


async def test_folder_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    """A mistyped path or a volume that was not mounted must not become an empty ledger somewhere else."""
    assert "has no folder" in await start_fails(tmp_path / "not mounted" / "ledger.db")
    assert list(tmp_path.iterdir()) == []


async def test_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where locks and flushes cannot be relied on there is no ledger."""

    class Any(frozenset[str]):
        def __contains__(self, item: object) -> bool:
            return True

    monkeypatch.setattr(sqlite_file, "_NETWORK_FILE_SYSTEMS", Any())
    assert "network file system" in await start_fails(tmp_path / "ledger.db")


@pytest.fixture
def folder_of_nobody() -> Iterator[Path]:
    """A folder that an unprivileged user reaches, and that user's rights for the test: root may write anywhere."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-"))
    user = os.geteuid()
    if user == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if user == 0:
            os.seteuid(user)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.fault(52)
async def test_read_only_file_is_refused(folder_of_nobody: Path) -> None:
    """A ledger that cannot be written to is unfit, with the remedy."""
    path = folder_of_nobody / "ledger.db"
    await make(path)
    path.chmod(0o400)
    why = await start_fails(path)
    assert "cannot be written to" in why
    assert "right to write" in why
    path.chmod(0o600)
    await make(path, places=0)


@pytest.mark.fault(52)
async def test_unreadable_file_is_refused(folder_of_nobody: Path) -> None:
    """A ledger of another user is unfit, and not taken for absent."""
    path = folder_of_nobody / "ledger.db"
    await make(path)
    path.chmod(0)
    assert "right to write" in await start_fails(path)
    path.chmod(0o600)


@pytest.mark.fault(52)
async def test_read_only_folder_is_refused(folder_of_nobody: Path) -> None:
    """Where neither lock nor log can be made there is no ledger."""
    path = folder_of_nobody / "ledger.db"
    folder_of_nobody.chmod(0o500)
    assert "right to write" in await start_fails(path)
    folder_of_nobody.chmod(0o700)


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
