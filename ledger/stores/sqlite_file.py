"""A ledger's file: who owns it, what it must look like, and how a new one comes to be.

A file is either whole or not there. A new ledger is made beside its place and renamed into it, so that an existing file
that is no ledger (empty, damaged, somebody else's) is never taken for a new one: that would be forgetting every call.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

from ledger.store import UnfitStore
from ledger.stores.sqlite_kind import LEDGER, Kind

PAGE_BYTES = 4096
QUICK_CHECK_BYTES_MAX = 64 * 1024 * 1024
"""Files up to here are checked whole at start (some 50 ms); larger ones page by page, as they are read."""
LOG_PAGES_MAX = 4_000
"""A call folds the log into the file once it has this many pages (16 MiB), if no idle moment came before: some
milliseconds, for one group in several hundred."""
BUSY_MS = 500
"""How long a start waits for another program to let go; once started, nobody else can hold a lock."""

_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.sshfs", "lustre"})


class Owned:
    """The right to use a ledger's file, held until `release` or the process's end, however that comes."""

    def __init__(self, path: str, kind: Kind = LEDGER) -> None:
        """Take the file at `path`, through symbolic links. Raises `UnfitStore` when another has it, `OSError`."""
        self._what = kind.what
        self.path = Path(path).resolve()
        if not self.path.parent.is_dir():
            raise UnfitStore(
                f"the {kind.what} {self.path} has no folder: make {self.path.parent}, or name another file with --store"
            )
        _refuse_network_file_system(self.path, kind)
        # A file of its own to lock: SQLite drops its locks when anything in the process closes the database file.
        self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._lock_it()
        except BaseException:
            os.close(self._lock)
            raise

    def release(self) -> None:
        """Let another process have the file. The lock's file stays: removing it could take it from under the next."""
        os.close(self._lock)

    def _lock_it(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise UnfitStore(
                f"the {self._what} {self.path} belongs to a running process (pid {owner}): one process owns a file. "
                "Stop that one, give this one a file of its own, or share a redis:// store (--store)"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)


def open_ledger(path: Path, kind: Kind = LEDGER, *, bytes_max: int | None = None) -> sqlite3.Connection:
    """Return a connection to the owned file of a `kind` at `path`, made anew where there is no file.

    `bytes_max` bounds the database's size. Raises `UnfitStore`, `sqlite3.Error`, `OSError`.
    """
    if not path.exists():
        _create(path, kind)
    if path.stat().st_size == 0:
        raise UnfitStore(f"the {kind.what} {path} is empty, and none ever was: {kind.restore}")
    # Asked by name: to open and close the file here would drop the locks of a store that has it open in this process.
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    # mode=rw: only `_create` makes files. cached_statements: all of ours, prepared once.
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_MS / 1000, cached_statements=64
    )
    try:
        # Exclusive before the log's first use: its index then lives in memory, and no transaction takes file locks.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _check_kind(connection, path, kind)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES_MAX}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: a plain flush stops at the disk's cache
        connection.execute("PRAGMA trusted_schema = OFF")
        if bytes_max is not None:
            connection.execute(f"PRAGMA max_page_count = {max(1, bytes_max // PAGE_BYTES)}")
        _check_health(connection, path, kind)
        _migrate(connection, kind)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path, kind: Kind) -> None:
    left = Path(f"{path}-wal")
    if left.exists() and left.stat().st_size:
        raise UnfitStore(
            f"the {kind.what} {path} is missing while its log {left} is there: put it back, or {kind.restore}"
        )
    new = f"{path}.new"
    for name in (new, f"{new}-journal", f"{new}-wal"):
        Path(name).unlink(missing_ok=True)
    # Results may hold what is nobody else's business; the log files take after this one.
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA synchronous = FULL")
        header = f"PRAGMA application_id = {kind.application_id}; PRAGMA user_version = {kind.version};"
        connection.executescript(f"BEGIN; {header} {kind.schema} COMMIT;")
    finally:
        connection.close()
    Path(new).rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_kind(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    if _pragma(connection, "application_id") != kind.application_id:
        raise UnfitStore(f"{path} is another program's database, not a {kind.what}: name another file with --store")
    version = _pragma(connection, "user_version")
    if version != kind.version and version not in kind.migrations:
        raise UnfitStore(
            f"the {kind.what} {path} has schema {version}, this program knows {kind.version}: "
            "start the version of Holdfast that wrote it, or a newer one"
        )


def _migrate(connection: sqlite3.Connection, kind: Kind) -> None:
    """Bring an older file up to this version: all the way or, where that fails, not at all."""
    version = _pragma(connection, "user_version")
    if version == kind.version:
        return
    assert isinstance(version, int)
    steps = "".join(kind.migrations[step] for step in range(version, kind.version))
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {kind.version}; COMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_health(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    if _pragma(connection, "journal_mode") != "wal":
        raise UnfitStore(f"the {kind.what} {path} cannot keep a write-ahead log: put it on a local disk")
    if path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
        found = _pragma(connection, "quick_check(1)")
        if found != "ok":
            raise UnfitStore(f"the {kind.what} {path} is damaged ({found}). It was left as it is; {kind.restore}")


def _pragma(connection: sqlite3.Connection, pragma: str) -> object:
    row = connection.execute(f"PRAGMA {pragma}").fetchone()
    return row[0] if row else None


def _refuse_network_file_system(path: Path, kind: Kind) -> None:
    device = path.parent.stat().st_dev
    place = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # not Linux: the documentation says it in words
    for mount in mounts.splitlines():
        before, _, after = mount.partition(" - ")
        system = after.partition(" ")[0]
        if before.split()[2] == place and system in _NETWORK_FILE_SYSTEMS:
            raise UnfitStore(
                f"the {kind.what} {path} is on a network file system ({system}), whose locks and flushes cannot be "
                "relied on: put it on a local disk, or use a redis:// store (--store)"
            )
