"""The one place where SQLite's failures become ours: what happened, in words, and what to do about it."""

from __future__ import annotations

import errno
import sqlite3

from ledger.store import StoreUnavailable, UnfitStore
from ledger.stores.sqlite_kind import LEDGER, Kind

_WORDS = {
    sqlite3.SQLITE_FULL: "the disk, or the file's own size limit, is full",
    sqlite3.SQLITE_READONLY: "it cannot be written to (read-only file, folder or file system)",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write",
    sqlite3.SQLITE_BUSY: "another program holds it open (a sqlite3 shell, a backup)",
    sqlite3.SQLITE_LOCKED: "another program holds it open (a sqlite3 shell, a backup)",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database",
    sqlite3.SQLITE_CANTOPEN: "the file, or the log beside it, cannot be opened",
    sqlite3.SQLITE_PERM: "this user may not open it",
    sqlite3.SQLITE_AUTH: "this user may not open it",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_TOOBIG: "the value is larger than SQLite takes",
}

_CANNOT_WRITE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PASSING = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}
)
_PASSING_OF_SYSTEM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Causes that may be gone at the next try; after any other, an operator has to do something before a start."""

_OF_ONE_CALL = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)


def is_of_one_call(error: Exception) -> bool:
    """Say whether `error` is about the values of one call: its statement did nothing, and its transaction goes on."""
    return isinstance(error, _OF_ONE_CALL)


def unavailable(error: Exception, kind: Kind = LEDGER) -> StoreUnavailable:
    """Return what a caller is told when its call failed with `error` (SQLite's, or the binding's about a value)."""
    return StoreUnavailable(f"the SQLite {kind.what}: {_words(error)}")


def at_start(path: str, error: UnfitStore | sqlite3.Error | OSError, kind: Kind) -> StoreUnavailable | UnfitStore:
    """Return why a start on `path` failed: `StoreUnavailable` when waiting may help, `UnfitStore` when it will not."""
    if isinstance(error, UnfitStore):
        return error
    code = _primary_code(error)
    text = f"the {kind.what} {path} cannot be used: {_words(error)}"
    if code in _PASSING or (isinstance(error, OSError) and error.errno in _PASSING_OF_SYSTEM):
        return StoreUnavailable(text)
    if code in _DAMAGED:
        return UnfitStore(f"{text}. It was left as it is; {kind.restore}")
    return UnfitStore(
        f"{text}. Give this user the right to write the file and its folder, or name another with --store"
    )


def _primary_code(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _words(error: Exception) -> str:
    code = _primary_code(error)
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        code = sqlite3.SQLITE_READONLY
    known = _WORDS.get(code or 0)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{known} ({name}: {error})" if known else f"{name}: {error}"
