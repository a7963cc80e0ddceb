"""The table of places, and the notifications that were heard: what each call does inside somebody else's transaction.

Lives in the writer's thread. Every time is an argument, in the store's milliseconds; raises `sqlite3.Error`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from coordinator.store import Astray, Page, Put, Standing, Written
from coordinator.stores import cursors
from coordinator.stores.holds import Hold, Told, after, hurried
from ledger.stores.sqlite_errors import is_of_one_call

PAGE_MAX = 500
"""Places of a page: some milliseconds of the writer's time."""

_STANDING = "(forget_ms IS NULL OR forget_ms > :now)"
_COLUMNS = "key, version, record, owner, due_ms, nudged"
_READ = f"SELECT {_COLUMNS} FROM places WHERE key = :key AND {_STANDING}"  # noqa: S608 -- every value is bound
_WRITE = """
INSERT INTO places (key, version, number, label, owner, nudged, due_ms, forget_ms, record)
VALUES (:key, :version, :number, :label, :owner, :nudged, :due_ms, :forget_ms, :record)
ON CONFLICT (key) DO UPDATE SET version = excluded.version, number = excluded.number, label = excluded.label,
  owner = excluded.owner, nudged = excluded.nudged, due_ms = excluded.due_ms, forget_ms = excluded.forget_ms,
  record = excluded.record
"""
_DUE = f"""
SELECT {_COLUMNS} FROM places WHERE due_ms <= :now AND {_STANDING} ORDER BY due_ms, key LIMIT :limit
"""  # noqa: S608 -- as above
_TAKE = "UPDATE places SET owner = ?, due_ms = ?, nudged = 0 WHERE key = ?"
_RENEW = f"""
UPDATE places SET due_ms = :until WHERE key = :key AND owner = :owner AND {_STANDING}
"""  # noqa: S608 -- as above
_HURRY = "UPDATE places SET due_ms = ?, nudged = ? WHERE key = ?"
_SCAN = f"""
SELECT number, {_COLUMNS} FROM places
WHERE label = :label AND label <> '' AND number < :behind AND {_STANDING} ORDER BY number DESC LIMIT :limit
"""  # noqa: S608 -- as above
_SCAN_ALL = _SCAN.replace("label = :label AND ", "")
_COUNTS = f"""
SELECT label, count(*) FROM places WHERE label <> '' AND {_STANDING} GROUP BY label
"""  # noqa: S608 -- as above
_ADOPT = "UPDATE places SET owner = '', nudged = 0, due_ms = min(due_ms, ?) WHERE due_ms IS NOT NULL"
_PURGE = "DELETE FROM places WHERE rowid IN (SELECT rowid FROM places WHERE forget_ms <= ? LIMIT ?)"
_HEARD = "SELECT 1 FROM heard WHERE webhook = ? AND until_ms > ?"
_HEAR = "INSERT OR REPLACE INTO heard (webhook, until_ms) VALUES (?, ?)"
_UNHEAR = "DELETE FROM heard WHERE webhook IN (SELECT webhook FROM heard WHERE until_ms <= ? LIMIT ?)"


class Place(Struct, frozen=True):
    """What stands somewhere."""

    key: str
    version: str
    record: bytes
    hold: Hold

    def seen(self, now: int) -> Standing:
        """Return it as callers are told of it."""
        return Standing(self.key, self.version, self.record, self.hold.live(now))


def _place(key: str, version: str, record: bytes, owner: str, due_ms: int | None, nudged: int) -> Place:
    return Place(key, version, record, Hold(owner, due_ms, bool(nudged)))


class Places:
    """`tell` is given the news of each nudge, for after the commit."""

    def __init__(self, connection: sqlite3.Connection, tell: Callable[[Told], None]) -> None:
        self._execute = connection.execute
        self._tell = tell
        (self._number,) = connection.execute("SELECT coalesce(max(number), 0) FROM places").fetchone()

    def swap(self, puts: Sequence[Put], now: int) -> Written | Astray:
        """See `coordinator.store.RunStore.swap`."""
        standing = [self._at(put.key, now) for put in puts]
        pairs = list(zip(puts, standing, strict=True))
        if any(place is not None and place.version == put.version for put, place in pairs):
            return Written()  # sent before: the answer was lost, not the write
        for put, place in pairs:
            if (place.version if place else None) != put.expected:
                return Astray(put.key, place.seen(now) if place else None)
        news: list[Told] = []
        with self._all_or_nothing():
            for put, place in pairs:
                hold, told = after(put, place.hold if place else Hold(), now)
                self._write(put, hold, now)
                if told is not None:
                    news.append(told)
        for told in news:
            self._tell(told)
        return Written()

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Undo the first of several statements when a later one is refused for its values: the transaction goes on."""
        self._execute("SAVEPOINT places")
        try:
            yield
        except Exception as error:
            if is_of_one_call(error):  # after any other, all that the group wrote is undone
                self._execute("ROLLBACK TO places")
                self._execute("RELEASE places")
            raise
        self._execute("RELEASE places")

    def _write(self, put: Put, hold: Hold, now: int) -> None:
        self._number += 1
        values = {
            "key": put.key,
            "version": put.version,
            "number": self._number,
            "label": put.label,
            "owner": hold.owner,
            "nudged": hold.nudged,
            "due_ms": hold.due_ms,
            "forget_ms": None if put.forget_ms is None else now + put.forget_ms,
            "record": put.record,
        }
        self._execute(_WRITE, values)

    def read(self, key: str, now: int) -> Standing | None:
        """See `coordinator.store.RunStore.read`."""
        place = self._at(key, now)
        return place.seen(now) if place else None

    def take(self, owner: str, limit: int, visibility_ms: int, now: int) -> list[Standing]:
        """See `coordinator.store.RunStore.take`."""
        due = [_place(*row) for row in self._execute(_DUE, {"now": now, "limit": limit})]
        until_ms = now + visibility_ms
        for place in due:
            self._execute(_TAKE, (owner, until_ms, place.key))
        hold = Hold(owner, until_ms)
        return [Standing(place.key, place.version, place.record, hold.live(now)) for place in due]

    def renew(self, owner: str, keys: Sequence[str], visibility_ms: int, now: int) -> set[str]:
        """See `coordinator.store.RunStore.renew`."""
        values = {"owner": owner, "until": now + visibility_ms, "now": now}
        return {key for key in keys if self._execute(_RENEW, {"key": key, **values}).rowcount == 1}

    def hurry(self, key: str, now: int) -> bool:
        """See `coordinator.store.RunStore.hurry`."""
        place = self._at(key, now)
        if place is None:
            return False
        hold, told = hurried(key, place.hold, now)
        self._execute(_HURRY, (hold.due_ms, hold.nudged, key))
        self._tell(told)
        return True

    def scan(self, label: str, behind: int | None, limit: int, now: int) -> Page:
        """See `coordinator.store.RunStore.scan`."""
        limit = max(1, min(limit, PAGE_MAX))
        values = {"label": label, "behind": self._number + 1 if behind is None else behind, "now": now}
        rows = self._execute(_SCAN if label else _SCAN_ALL, {**values, "limit": limit + 1}).fetchall()
        places = [_place(*row[1:]).seen(now) for row in rows[:limit]]
        return Page(places, cursors.written(label, rows[limit - 1][0]) if len(rows) > limit else "")

    def counts(self, now: int) -> dict[str, int]:
        """See `coordinator.store.RunStore.counts`."""
        return dict(self._execute(_COUNTS, {"now": now}).fetchall())

    def hear(self, webhook: str, keep_ms: int, key: str, now: int) -> bool:
        """See `coordinator.store.RunStore.hear`."""
        if self._execute(_HEARD, (webhook, now)).fetchone():
            return False
        self.hurry(key, now)
        self._execute(_HEAR, (webhook, now + keep_ms))
        return True

    def adopt(self, now: int) -> None:
        """Make everything due that had a due time: whoever owned it is gone, and the wall clock, by which all else was
        to fall due, may have been set back since. To look once more harms nobody."""
        self._execute(_ADOPT, (now,))

    def purge(self, now: int, limit: int) -> int:
        """Delete up to `limit` forgotten places, and as many notifications; return how many, of the more frequent."""
        return max(self._execute(statement, (now, limit)).rowcount for statement in (_PURGE, _UNHEAR))

    def _at(self, key: str, now: int) -> Place | None:
        row = self._execute(_READ, {"key": key, "now": now}).fetchone()
        return None if row is None else _place(*row)
