"""The ledger's file: who owns it, what it must look like, and how a new one comes to be.

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
from ledger.stores.sqlite_errors import RESTORE

APPLICATION_ID = 0x486F6C64
"""`Hold`, in the header of each ledger: tells ours from other programs' databases."""
SCHEMA_VERSION = 2
PAGE_BYTES = 4096
QUICK_CHECK_BYTES_MAX = 64 * 1024 * 1024
"""Files up to here are checked whole at start (some 50 ms); larger ones page by page, as they are read."""
LOG_PAGES_MAX = 4_000
"""A call folds the log into the file once it has this many pages (16 MiB), if no idle moment came before: some
milliseconds, for one group in several hundred."""
BUSY_MS = 500
"""How long a start waits for another program to let go; once started, nobody else can hold a lock."""

SCHEMA = """
CREATE TABLE places (
  operation TEXT NOT NULL,
  scope TEXT NOT NULL,
  version TEXT NOT NULL,
  phase TEXT NOT NULL,
  due_ms INTEGER,      -- when the lease lapses
  unknown_ms INTEGER,  -- since when the outcome is unknown
  result_ms INTEGER,   -- until when the result may be handed out
  forget_ms INTEGER,   -- from when on nothing stands here
  purge_ms INTEGER,    -- when the writer has something to delete here: the result, then the place
  record BLOB NOT NULL,
  result BLOB          -- last: a large one overflows, and what stands before it is read without it
);
CREATE UNIQUE INDEX places_ref ON places (operation, scope);
CREATE INDEX places_due ON places (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX places_unknown ON places (scope, unknown_ms, forget_ms) WHERE unknown_ms IS NOT NULL;
CREATE INDEX places_purge ON places (purge_ms) WHERE purge_ms IS NOT NULL;
"""
# A rowid table: places lie in the order of their first claim, so those of one group share pages, and a settle finds its
# place in a page at hand. Keyed by the (random) operation itself it cost 2.5 times as much, and 3 times the space.

ADDED_BY_2 = """
CREATE TABLE effects (
  scope TEXT NOT NULL,
  effect TEXT NOT NULL,
  operation TEXT NOT NULL,  -- which one holds it
  until_ms INTEGER,         -- NULL: without end
  PRIMARY KEY (scope, effect)
) WITHOUT ROWID;
CREATE INDEX effects_until ON effects (until_ms) WHERE until_ms IS NOT NULL;
CREATE INDEX places_unknown_since ON places (unknown_ms) WHERE unknown_ms IS NOT NULL;
CREATE TABLE beats (process TEXT PRIMARY KEY, count INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refusal (id INTEGER PRIMARY KEY CHECK (id = 1), until_ms INTEGER NOT NULL);
"""
_MIGRATIONS = {1: ADDED_BY_2}
"""What each older version lacks to be the next one. There is no way back: an earlier program would settle calls without
letting go of their effect keys, so it refuses the file."""

_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.sshfs", "lustre"})


class Owned:
    """The right to use a ledger's file, held until `release` or the process's end, however that comes."""

    def __init__(self, path: str) -> None:
        """Take the file at `path`, through symbolic links. Raises `UnfitStore` when another has it, `OSError`."""
        self.path = Path(path).resolve()
        if not self.path.parent.is_dir():
            raise UnfitStore(
                f"the ledger {self.path} has no folder: make {self.path.parent}, or name another file with --store"
            )
        _refuse_network_file_system(self.path)
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
                f"the ledger {self.path} belongs to a running process (pid {owner}): one process owns a file. "
                "Stop that one, give this one a file of its own, or share a redis:// store (--store)"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, b"%d\n" % os.getpid(), 0)


def open_ledger(path: Path, *, bytes_max: int | None = None) -> sqlite3.Connection:
    """Return a connection to the owned ledger at `path`, made anew where there is no file.

    `bytes_max` bounds the database's size. Raises `UnfitStore`, `sqlite3.Error`, `OSError`.
    """
    if not path.exists():
        _create(path)
    if path.stat().st_size == 0:
        raise UnfitStore(f"the ledger {path} is empty, and no ledger ever was: {RESTORE}")
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
        _check_kind(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES_MAX}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: a plain flush stops at the disk's cache
        connection.execute("PRAGMA trusted_schema = OFF")
        if bytes_max is not None:
            connection.execute(f"PRAGMA max_page_count = {max(1, bytes_max // PAGE_BYTES)}")
        _check_health(connection, path)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    left = Path(f"{path}-wal")
    if left.exists() and left.stat().st_size:
        raise UnfitStore(f"the ledger {path} is missing while its log {left} is there: put it back, or {RESTORE}")
    new = f"{path}.new"
    for name in (new, f"{new}-journal", f"{new}-wal"):
        Path(name).unlink(missing_ok=True)
    # Results may hold what is nobody else's business; the log files take after this one.
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA synchronous = FULL")
        header = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        connection.executescript(f"BEGIN; {header} {SCHEMA} {ADDED_BY_2} COMMIT;")
    finally:
        connection.close()
    Path(new).rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise UnfitStore(f"{path} is another program's database, not a ledger: name another file with --store")
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION and version not in _MIGRATIONS:
        raise UnfitStore(
            f"the ledger {path} has schema {version}, this program knows {SCHEMA_VERSION}: "
            "start the version of Holdfast that wrote it, or a newer one"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring an older file up to this version: all the way or, where that fails, not at all."""
    version = _pragma(connection, "user_version")
    if version == SCHEMA_VERSION:
        return
    assert isinstance(version, int)
    steps = "".join(_MIGRATIONS[step] for step in range(version, SCHEMA_VERSION))
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_health(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "journal_mode") != "wal":
        raise UnfitStore(f"the ledger {path} cannot keep a write-ahead log: put it on a local disk")
    if path.stat().st_size <= QUICK_CHECK_BYTES_MAX:
        found = _pragma(connection, "quick_check(1)")
        if found != "ok":
            raise UnfitStore(f"the ledger {path} is damaged ({found}). It was left as it is; {RESTORE}")


def _pragma(connection: sqlite3.Connection, pragma: str) -> object:
    row = connection.execute(f"PRAGMA {pragma}").fetchone()
    return row[0] if row else None


def _refuse_network_file_system(path: Path) -> None:
    device = path.parent.stat().st_dev
    place = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # not Linux: the documentation says it in words
    for mount in mounts.splitlines():
        before, _, after = mount.partition(" - ")
        kind = after.partition(" ")[0]
        if before.split()[2] == place and kind in _NETWORK_FILE_SYSTEMS:
            raise UnfitStore(
                f"the ledger {path} is on a network file system ({kind}), whose locks and flushes cannot be relied on: "
                "put it on a local disk, or use a redis:// store (--store)"
            )
