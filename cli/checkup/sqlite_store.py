"""A place on disk for the embedded store: may we write there, does the file system keep its word, and how fast.

The ledger's own file is not opened: whatever needs writing happens in a scratch folder beside it, on the same file
system.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from cli.checkup.finding import Finding, error, ok, warning
from cli.exits import Unreachable
from ledger.stores.sqlite_kind import APPLICATION_ID

SYNCS = 20
SYNC_MEDIAN_MAX_MS = 10.0
"""A claim waits for one sync before the tool is called: half of a 20 ms tool's time."""

FREE_MIN_BYTES = 256 * 2**20

HEADER_BYTES = 100
"""SQLite's file header: it begins with a magic string, and holds the application's own number at byte 68."""

MOUNTS = Path("/proc/self/mountinfo")
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.glusterfs"}
FLEETING = {"tmpfs": "a restart of the machine or pod", "ramfs": "a restart", "overlay": "the end of the container"}


def examine_sqlite(path: Path) -> list[Finding]:
    """Look at `path` and the folder that it is in; raises `Unreachable` if there is no such folder."""
    path = Path(os.path.realpath(path))
    folder = path.parent
    if not folder.is_dir():
        raise Unreachable(f"{folder} is not there: the store would have nowhere to be")
    writable = place(path, folder)
    if writable.severity == "error":
        return [writable]
    return [
        writable,
        contents(path),
        owner(path),
        filesystem(folder, _mounts()),
        space(shutil.disk_usage(folder).free),
        *trial(folder),
    ]


def place(path: Path, folder: Path) -> Finding:
    """Judge the permissions: the folder too, for WAL keeps two files beside the store's."""
    for needed in (folder, *(beside for beside in _files(path) if beside.exists())):
        if not os.access(needed, os.W_OK):
            return error("store", f"{needed} cannot be written by uid {os.geteuid()}", f"chown {os.geteuid()} {needed}")
    if path.exists() and not path.is_file():
        return error("store", f"{path} is not a file", "name a file")
    return ok("store", f"{path} can be written")


def contents(path: Path) -> Finding:
    """Judge by its header whether the file is a ledger; a missing one will be made, any other is refused at start."""
    if not path.exists():
        return ok("store-contents", "not there yet: it will be made")
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if not header.startswith(b"SQLite format 3\0") or header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        return error("store-contents", f"{path} is no ledger of Holdfast's", "name another file, or restore a backup")
    return ok("store-contents", f"a ledger of {path.stat().st_size / 2**20:.1f} MiB")


def owner(path: Path) -> Finding:
    """Tell which process owns the ledger. That is no fault: but a second proxy on it would be refused."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDONLY)
    except FileNotFoundError:
        return ok("store-owner", "nobody")
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # held for no longer than it takes to close it again
    except BlockingIOError:
        process = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        return ok("store-owner", f"the running process {process}: a second proxy on this file would be refused")
    finally:
        os.close(lock)
    return ok("store-owner", "nobody")


def filesystem(folder: Path, mounts: dict[Path, str]) -> Finding:
    """Judge the file system: WAL needs memory shared by its users, and claims need a disk that stays."""
    kind = next((mounts[mount] for mount in (folder, *folder.parents) if mount in mounts), "of unknown kind")
    if kind in REMOTE:
        message = f"{folder} is on {kind}: SQLite's write-ahead log does not work across machines"
        return error("store-filesystem", message, "use a local disk, or Redis")
    if kind in FLEETING:
        message = f"{folder} is on {kind}: {FLEETING[kind]} forgets every claim"
        return warning("store-filesystem", message, "mount a volume there")
    return ok("store-filesystem", kind)


def space(free_bytes: int) -> Finding:
    """Judge the free space: a full disk refuses claims."""
    told = f"{free_bytes / 2**20:.0f} MiB free"
    if free_bytes < FREE_MIN_BYTES:
        return warning("store-space", f"{told}: once it is full, every claim is refused", "make room")
    return ok("store-space", told)


def trial(folder: Path) -> list[Finding]:
    """Try in a scratch folder what the store will do: a write-ahead log, and syncs."""
    try:
        with tempfile.TemporaryDirectory(prefix=".holdfast-doctor-", dir=folder) as scratch:
            return [write_ahead(Path(scratch)), judge_syncs(time_syncs(Path(scratch)))]
    except OSError as failed:
        return [error("store-trial", f"{folder}: {failed.strerror}", "see the disk and its mount options")]


def write_ahead(scratch: Path) -> Finding:
    """Ask SQLite for a write-ahead log; where it cannot have one it says so by staying with another mode."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        connection = sqlite3.connect(Path(folder) / "trial.db")
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.Error as failed:
            mode = str(failed)
        finally:
            connection.close()
    if mode != "wal":
        return error("store-wal", f"no write-ahead log here: {mode}", "use a local disk, or Redis")
    return ok("store-wal", f"SQLite {sqlite3.sqlite_version}")


def time_syncs(scratch: Path) -> list[float]:
    """Return how long each of some small synced writes took, in milliseconds."""
    took_ms = []
    with (scratch / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            before = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took_ms.append(1000 * (time.perf_counter() - before))
    return took_ms


def judge_syncs(took_ms: list[float]) -> Finding:
    """Judge measured syncs. Claims that wait together share one."""
    median, worst = statistics.median(took_ms), max(took_ms)
    told = f"sync p50 {median:.2f} ms, max {worst:.2f} ms ({len(took_ms)} of 4 KiB)"
    if median > SYNC_MEDIAN_MAX_MS:
        return warning("store-sync", told, "use a faster disk: each claim waits for a sync")
    return ok("store-sync", told)


def _files(path: Path) -> list[Path]:
    return [
        path,
        path.with_name(path.name + ".lock"),
        path.with_name(path.name + "-wal"),
        path.with_name(path.name + "-shm"),
    ]


def _mounts() -> dict[Path, str]:
    """Return the file system of each mount point; empty where the system does not tell (only Linux does)."""
    if not MOUNTS.exists():
        return {}
    kinds = {}
    for line in MOUNTS.read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split()[4].encode().decode("unicode_escape")  # a space is \040 in there
        kinds[Path(mount)] = right.split()[0]
    return kinds
