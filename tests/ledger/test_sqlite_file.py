"""The ledger's file is whole or not there: it is never taken for a new one when damaged, foreign or out of reach."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.store import StoreUnavailable
from ledger.stores import sqlite_file
from ledger.stores.sqlite import SqliteStore
from tests.ledger.sqlite_bench import make, owned_by_another, start_fails
from tests.ledger.store_bench import a_ref, a_write, put

NOBODY = 65534


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
        connection.execute("PRAGMA user_version = 3")
    assert "schema 3, this program knows 2" in await start_fails(path)


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
