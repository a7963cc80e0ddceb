"""The store's calls as SQL: what each does inside a transaction that somebody else begins and commits.

Lives in the writer's thread. Happy paths are one statement: a swap is tried, and only where it changed nothing does a
second one look what stands there.
"""

from __future__ import annotations

import functools
import sqlite3
from pathlib import Path
from typing import Any, assert_never

from msgspec import Struct

from ledger.key import Ref
from ledger.store import Beat, EffectWrite, Held, Page, Phase, Present, UnknownCount, Write, Written
from ledger.stores.cursors import Mark
from ledger.stores.sqlite_beats import Beats
from ledger.stores.sqlite_effects import Effects
from ledger.stores.sqlite_listing import page_of


class Swap(Struct, frozen=True, gc=False):
    """`Store.swap`, on its way to the writer."""

    ref: Ref
    expected: str | None
    write: Write


class Read(Struct, frozen=True, gc=False):
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


class Scan(Struct, frozen=True):
    """`Store.scan`, behind the place that `after` marks."""

    phase: Phase | None
    after: Mark
    limit: int


class CountBeat(Struct, frozen=True):
    """`Store.beat`."""

    process: str
    acknowledged: int
    refuse_ms: int


class Accept(Struct, frozen=True):
    """`Store.accept`."""


Work = Swap | Read | Renew | Due | Unknowns | Scan | CountBeat | Accept
Answer = Written | Present | Held | bool | list[Ref] | list[UnknownCount] | Page | Beat | None

WRITTEN = Written()

_TERMS = ("phase", "due_ms", "unknown_ms", "result_ms", "forget_ms", "purge_ms", "result", "record")
"""What each write sets, beside its version: what it does not name becomes NULL."""

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


def _columns_of(write: Write, now: int) -> dict[str, object]:
    """Return what `write` sets, without what it sets to NULL.

    The binding asks each value that is not a number, a text or a `bytearray` in vain for an adapter, at 3,000
    instructions a time: so nothing is bound to None, and bytes are copied.
    """
    columns: dict[str, object] = {"phase": write.phase, "record": bytearray(write.record)}
    if write.lease_ms is not None:
        columns["due_ms"] = now + write.lease_ms
    if write.phase == "unknown":
        columns["unknown_ms"] = now
    if write.forget_ms is not None:
        columns["forget_ms"] = columns["purge_ms"] = now + write.forget_ms
    if write.result is not None:
        columns["result"] = bytearray(write.result)
        if write.result_ms is not None:
            columns["result_ms"] = now + write.result_ms
            forget_ms = write.result_ms if write.forget_ms is None else write.forget_ms
            columns["purge_ms"] = now + min(write.result_ms, forget_ms)
    return columns


@functools.cache
def _insert(columns: tuple[str, ...]) -> str:
    """Return the statement that puts a write where nothing stands: `columns`, version, operation, scope, now."""
    names = (*columns, "version", "operation", "scope")
    anew = ", ".join(f"{name} = excluded.{name}" for name in (*_TERMS, "version"))
    return (  # names of columns only: every value is bound
        f"INSERT INTO places ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "  # noqa: S608
        f"ON CONFLICT (operation, scope) DO UPDATE SET {anew} WHERE places.forget_ms <= ?"
    )


@functools.cache
def _update(columns: tuple[str, ...]) -> str:
    """Return the statement that puts one in another's place: `columns`, version, operation, scope, expected, now."""
    values = dict.fromkeys(_TERMS, "NULL") | dict.fromkeys(columns, "?")
    if "unknown_ms" in columns:
        values["unknown_ms"] = "coalesce(unknown_ms, ?)"
    ordered = (*columns, *(name for name in _TERMS if name not in columns))
    terms = ", ".join(f"{name} = {values[name]}" for name in ordered)
    return (  # as above
        f"UPDATE places SET {terms}, version = ? "  # noqa: S608
        "WHERE operation = ? AND scope = ? AND version = ? AND (forget_ms IS NULL OR forget_ms > ?)"
    )


class Places:
    """The table of places. Every time is an argument, in the store's milliseconds; raises `sqlite3.Error`."""

    writes: tuple[type, ...] = (Swap, Renew, CountBeat, Accept)

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.changed: list[Any] = []
        """The operations that were written since this was emptied."""
        self._cursor = connection.cursor()
        self._effects = Effects(self._cursor)
        self._beats = Beats(self._cursor, path)

    def carry_out(self, work: Work, now: int) -> Answer:
        """Do one call and return its answer."""
        if isinstance(work, Swap):  # first, and not by a pattern: what a pattern costs, it would cost each call
            if work.write.effect is not None:
                return self._swap_with_effect(work.ref, work.expected, work.write, work.write.effect, now)
            return self._swap(work.ref, work.expected, work.write, now)
        match work:
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
            case Scan(phase, after, limit):
                return page_of(self._cursor.connection, phase, after, limit, now)
            case CountBeat(process, acknowledged, refuse_ms):
                return self._beats.beat(process, acknowledged, refuse_ms, now)
            case Accept():
                self._beats.accept()
                return None
            case _:
                assert_never(work)

    def adopt(self, now: int) -> None:
        """Make every lease that a previous owner left due now: it is not there to renew or settle."""
        self._cursor.execute(_ADOPT, (now, now))
        self._beats.forget_old(now)

    def purge(self, now: int, limit: int) -> int:
        """Delete forgotten places and outlived results, `limit` of them together at most, and as many effect keys whose
        window is over; return how many of the ones or the others, whichever are more."""
        outlived = self._cursor.execute(_OUTLIVED, (now, limit)).fetchall()
        forgotten = [(rowid,) for rowid, forget_ms in outlived if forget_ms is not None and forget_ms <= now]
        stripped = [(rowid,) for rowid, forget_ms in outlived if forget_ms is None or forget_ms > now]
        self._cursor.executemany(_DELETE, forgotten)
        self._cursor.executemany(_STRIP, stripped)
        return max(len(outlived), self._effects.purge(now, limit))

    def _swap_with_effect(
        self, ref: Ref, expected: str | None, write: Write, effect: EffectWrite, now: int
    ) -> Written | Present | Held | None:
        """Swap, and hold the effect key or let it go: what could go wrong with the second comes before the first."""
        holder = self._effects.holder(ref.scope, effect.key, now)
        mine = holder is None or holder == ref.operation
        if effect.hold == "claim" and not mine and holder != effect.over:
            standing = self._read(ref, now)
            version = None if standing is None else standing.version
            if version == write.version:
                return WRITTEN
            if version != expected:
                return standing
            assert holder is not None
            return Held(holder, self._read(Ref(ref.scope, holder), now))
        met = self._swap(ref, expected, write, now)
        # One row: it was written just now. A repetition looked at what stands, and leaves the effect key alone.
        if met is WRITTEN and self._cursor.rowcount == 1 and (mine or effect.hold == "claim"):
            self._effects.hold(ref, effect, now)
        return met

    def _swap(self, ref: Ref, expected: str | None, write: Write, now: int) -> Written | Present | None:
        columns = _columns_of(write, now)
        cursor = self._cursor
        if expected is None:
            cursor.execute(_insert(tuple(columns)), (*columns.values(), write.version, ref.operation, ref.scope, now))
        else:
            place = (ref.operation, ref.scope, expected, now)
            cursor.execute(_update(tuple(columns)), (*columns.values(), write.version, *place))
        if cursor.rowcount == 1:
            self.changed.append(ref.operation)
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
