"""The store's calls as SQL: what each does inside a transaction that somebody else begins and commits.

Lives in the writer's thread. Happy paths are one statement: a swap is tried, and only where it changed nothing does a
second one look what stands there.
"""

from __future__ import annotations

import sqlite3
from typing import assert_never

from msgspec import Struct

from ledger.key import Ref
from ledger.store import Present, UnknownCount, Write, Written


class Swap(Struct, frozen=True):
    """`Store.swap`, on its way to the writer."""

    ref: Ref
    expected: str | None
    write: Write


class Read(Struct, frozen=True):
    """`Store.read`."""

    ref: Ref


class Renew(Struct, frozen=True):
    """`Store.renew`."""

    ref: Ref
    version: str
    lease_ms: int


class Due(Struct, frozen=True):
    """`Store.due`."""

    limit: int


class Unknowns(Struct, frozen=True):
    """`Store.unknowns`."""


Work = Swap | Read | Renew | Due | Unknowns
Answer = Written | Present | bool | list[Ref] | list[UnknownCount] | None

WRITTEN = Written()

_INSERT = """
INSERT INTO places
  (operation, scope, version, phase, due_ms, unknown_ms, result_ms, forget_ms, purge_ms, record, result)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (operation, scope) DO UPDATE SET
  version = excluded.version, phase = excluded.phase, due_ms = excluded.due_ms, unknown_ms = excluded.unknown_ms,
  result_ms = excluded.result_ms, forget_ms = excluded.forget_ms, purge_ms = excluded.purge_ms,
  record = excluded.record, result = excluded.result
WHERE places.forget_ms <= ?
"""
_UPDATE = """
UPDATE places SET version = ?, phase = ?, due_ms = ?, unknown_ms = iif(?, coalesce(unknown_ms, ?), NULL),
  result_ms = ?, forget_ms = ?, purge_ms = ?, record = ?, result = ?
WHERE operation = ? AND scope = ? AND version = ? AND (forget_ms IS NULL OR forget_ms > ?)
"""
_READ = """
SELECT version, record, iif(result_ms <= ?, NULL, result), due_ms FROM places
WHERE operation = ? AND scope = ? AND (forget_ms IS NULL OR forget_ms > ?)
"""
_RENEW = """
UPDATE places SET due_ms = ?
WHERE operation = ? AND scope = ? AND version = ? AND (forget_ms IS NULL OR forget_ms > ?)
"""
_DUE = """
SELECT scope, operation FROM places
WHERE due_ms <= ? AND (forget_ms IS NULL OR forget_ms > ?) ORDER BY due_ms LIMIT ?
"""
_UNKNOWNS = """
SELECT scope, count(*), min(unknown_ms) FROM places
WHERE unknown_ms IS NOT NULL AND (forget_ms IS NULL OR forget_ms > ?) GROUP BY scope
"""
_ADOPT = "UPDATE places SET due_ms = ? WHERE due_ms > ?"
_OUTLIVED = "SELECT rowid, forget_ms FROM places WHERE purge_ms <= ? ORDER BY purge_ms LIMIT ?"
_DELETE = "DELETE FROM places WHERE rowid = ?"
_STRIP = "UPDATE places SET result = NULL, result_ms = NULL, purge_ms = forget_ms WHERE rowid = ?"


class Places:
    """The table of places. Every time is an argument, in the store's milliseconds; raises `sqlite3.Error`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._cursor = connection.cursor()

    def carry_out(self, work: Work, now: int) -> Answer:
        """Do one call and return its answer."""
        match work:
            case Swap(ref, expected, write):
                return self._swap(ref, expected, write, now)
            case Read(ref):
                return self._read(ref, now)
            case Renew(ref, version, lease_ms):
                self._cursor.execute(_RENEW, (now + lease_ms, ref.operation, ref.scope, version, now))
                return self._cursor.rowcount == 1
            case Due(limit):
                rows = self._cursor.execute(_DUE, (now, now, limit)).fetchall()
                return [Ref(scope, operation) for scope, operation in rows]
            case Unknowns():
                rows = self._cursor.execute(_UNKNOWNS, (now,)).fetchall()
                return [UnknownCount(scope, count, max(0, now - since)) for scope, count, since in rows]
            case _:
                assert_never(work)

    def adopt(self, now: int) -> None:
        """Make every lease that a previous owner left due now: it is not there to renew or settle."""
        self._cursor.execute(_ADOPT, (now, now))

    def purge(self, now: int, limit: int) -> int:
        """Delete forgotten places and outlived results, `limit` of them together at most; return how many."""
        outlived = self._cursor.execute(_OUTLIVED, (now, limit)).fetchall()
        forgotten = [(rowid,) for rowid, forget_ms in outlived if forget_ms is not None and forget_ms <= now]
        stripped = [(rowid,) for rowid, forget_ms in outlived if forget_ms is None or forget_ms > now]
        self._cursor.executemany(_DELETE, forgotten)
        self._cursor.executemany(_STRIP, stripped)
        return len(outlived)

    def _swap(self, ref: Ref, expected: str | None, write: Write, now: int) -> Written | Present | None:
        due_ms = None if write.lease_ms is None else now + write.lease_ms
        forget_ms = purge_ms = None if write.forget_ms is None else now + write.forget_ms
        result_ms = None
        if write.result is not None and write.result_ms is not None:
            result_ms = now + write.result_ms
            purge_ms = result_ms if forget_ms is None else min(result_ms, forget_ms)
        unknown = write.phase == "unknown"
        kept = (result_ms, forget_ms, purge_ms, write.record, write.result)
        cursor = self._cursor
        if expected is None:
            place = (ref.operation, ref.scope, write.version, write.phase, due_ms, now if unknown else None)
            cursor.execute(_INSERT, (*place, *kept, now))
        else:
            phase = (write.version, write.phase, due_ms, unknown, now)
            cursor.execute(_UPDATE, (*phase, *kept, ref.operation, ref.scope, expected, now))
        if cursor.rowcount == 1:
            return WRITTEN
        standing = self._read(ref, now)
        # Sent before, and nobody wrote since: the answer was lost, not the write.
        return WRITTEN if standing is not None and standing.version == write.version else standing

    def _read(self, ref: Ref, now: int) -> Present | None:
        row = self._cursor.execute(_READ, (now, ref.operation, ref.scope, now)).fetchone()
        if row is None:
            return None
        version, record, result, due_ms = row
        return Present(version, record, result, None if due_ms is None else due_ms - now)
