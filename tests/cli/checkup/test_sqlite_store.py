"""What is said about a place on disk, and that looking at it leaves nothing behind."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.checkup import sqlite_store
from cli.checkup.finding import Finding
from cli.checkup.sqlite_store import contents, examine_sqlite, filesystem, judge_syncs, owner, space, write_ahead
from cli.exits import Unreachable
from ledger.stores import sqlite_file
from ledger.stores.open import open_store

LOCAL = {Path("/"): "ext4"}


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every folder be on a local disk, wherever the tests run."""
    monkeypatch.setattr(sqlite_store, "_mounts", lambda: LOCAL)


@pytest_asyncio.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Path]:
    """A ledger that this process has open."""
    path = tmp_path / "ledger.db"
    store = open_store(f"sqlite://{path}")
    await store.start()
    yield path
    await store.close()


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    """Return findings by what they are about."""
    return {finding.check: finding for finding in findings}


@pytest.mark.usefixtures("local")
def test_place_for_a_new_ledger_is_examined_without_making_it(tmp_path: Path) -> None:
    """Everything is tried in a scratch folder that is gone afterwards; the ledger's file is not made."""
    found = by_check(examine_sqlite(tmp_path / "ledger.db"))
    assert {check for check, finding in found.items() if finding.severity == "error"} == set()
    assert "will be made" in found["store-contents"].message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("local")
async def test_ledger_in_use_is_fit_and_its_owner_is_named(ledger: Path) -> None:
    """A running proxy may be examined: the finding says whose the file is, and the file is left alone."""
    before = ledger.read_bytes()
    found = by_check(examine_sqlite(ledger))
    assert found["store-contents"].severity == "ok"
    assert f"process {os.getpid()}:" in found["store-owner"].message
    assert ledger.read_bytes() == before


async def test_ledger_that_was_let_go_belongs_to_nobody_and_can_be_taken_after_the_look(tmp_path: Path) -> None:
    """The look takes no lock that outlives it."""
    path = tmp_path / "ledger.db"
    for _ in range(2):
        store = open_store(f"sqlite://{path}")
        await store.start()
        await store.close()
        assert owner(path).message == "nobody"


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\0" + bytes(84)])
def test_file_that_is_no_ledger_is_an_error(tmp_path: Path, content: bytes) -> None:
    """An empty file, a damaged one and somebody else's database are what the proxy refuses at start."""
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    assert contents(path).severity == "error"


def test_folder_that_is_missing_makes_the_store_unreachable(tmp_path: Path) -> None:
    """There is nothing to examine, and that is exit code 5."""
    with pytest.raises(Unreachable, match="nowhere"):
        examine_sqlite(tmp_path / "missing" / "ledger.db")


def test_file_that_may_not_be_written_is_the_only_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the permission nothing else is tried; the remedy names whose the file must be."""
    path = tmp_path / "ledger.db"
    path.touch()
    monkeypatch.setattr(os, "access", lambda place, _mode: Path(place) != path)  # root may always write
    (finding,) = examine_sqlite(path)
    assert finding.severity == "error"
    assert finding.remedy == f"chown {os.geteuid()} {path}"


def test_directory_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    """The URL named a folder: a typing error, told before anything is tried."""
    (finding,) = examine_sqlite(tmp_path)
    assert finding.severity == "error"


@pytest.mark.parametrize(
    ("kind", "severity"), [("ext4", "ok"), ("nfs4", "error"), ("fuse.sshfs", "error"), ("tmpfs", "warning")]
)
def test_file_system_of_the_nearest_mount_decides(kind: str, severity: str) -> None:
    """A volume mounted below the root counts, not the root."""
    mounts = {Path("/"): "overlay", Path("/var/lib"): kind, Path("/var/library"): "nfs"}
    assert filesystem(Path("/var/lib/holdfast"), mounts).severity == severity
    assert filesystem(Path("/var/lib"), mounts).severity == severity


def test_file_systems_that_the_store_refuses_are_errors_here() -> None:
    """The doctor never calls a disk fit that the proxy would turn away."""
    assert sqlite_file._NETWORK_FILE_SYSTEMS <= sqlite_store.REMOTE


def test_system_that_does_not_tell_its_mounts_is_no_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only Linux has a mount table to read."""
    monkeypatch.setattr(sqlite_store, "MOUNTS", tmp_path / "none")
    assert filesystem(tmp_path, sqlite_store._mounts()).severity == "ok"


def test_mount_point_with_a_space_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    r"""The kernel writes a space as `\040`."""
    table = tmp_path / "mountinfo"
    table.write_text("36 35 98:0 / /mnt/my\\040disk rw,noatime master:1 - ext3 /dev/root rw\n")
    monkeypatch.setattr(sqlite_store, "MOUNTS", table)
    assert sqlite_store._mounts() == {Path("/mnt/my disk"): "ext3"}


def test_little_space_is_a_warning() -> None:
    """A full disk refuses every claim; the finding comes before."""
    assert space(10 * 2**20).severity == "warning"
    assert space(10 * 2**30).severity == "ok"


def test_slow_syncs_are_a_warning_with_the_measured_times() -> None:
    """The median decides: one slow sync is no finding."""
    assert judge_syncs([1.0] * 19 + [300.0]).severity == "ok"
    assert "p50 25.00 ms" in judge_syncs([25.0] * 20).message
    assert judge_syncs([25.0] * 20).severity == "warning"


def test_place_without_a_write_ahead_log_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite answers with the mode that it stays in: anything but `wal` is told."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda _path: connect(":memory:"))
    assert write_ahead(tmp_path).severity == "error"
