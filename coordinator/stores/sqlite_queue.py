"""The tables of results and dead letters: what each call does inside somebody else's transaction.

Lives in the writer's thread, like `sqlite_places`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from coordinator.store import Delivery, Letter
from coordinator.stores import cursors
from coordinator.stores.holds import EVERYBODY, Told

PAGE_MAX = 500
"""Dead letters of a page."""
LONG_AGO_MS = 0
"""When what was under way with a previous owner was delivered: idle for longer than anybody asks."""

_POST = "INSERT INTO results (id, entry, times) VALUES (?, ?, 0)"
_IS_POSTED = "SELECT 1 FROM results WHERE id = ?"
_DEPTH = "SELECT count(*) FROM results"
_AGAIN = "SELECT number, id, entry, times FROM results WHERE delivered_ms <= ? ORDER BY number LIMIT ?"
_NEW = "SELECT number, id, entry, times FROM results WHERE delivered_ms IS NULL ORDER BY number LIMIT ?"
_DELIVER = "UPDATE results SET delivered_ms = ?, times = times + 1 WHERE number = ?"
_DONE = "DELETE FROM results WHERE id = ?"
_ADOPT = "UPDATE results SET delivered_ms = ? WHERE delivered_ms IS NOT NULL"
_BURY = """
INSERT OR REPLACE INTO letters (id, reason, detail, since_ms, entry) SELECT id, ?, ?, ?, entry FROM results WHERE id = ?
"""
_LETTERS = """
SELECT number, id, entry, reason, detail, since_ms FROM letters WHERE number > ? ORDER BY number LIMIT ?
"""
_LETTER = "SELECT entry FROM letters WHERE id = ?"
_DROP = "DELETE FROM letters WHERE id = ?"


class Queue:
    """`tell` is given the news of each result, for after the commit."""

    def __init__(self, connection: sqlite3.Connection, tell: Callable[[Told], None]) -> None:
        self._execute = connection.execute
        self._tell = tell

    def post(self, entry_id: str, entry: bytes, depth_max: int) -> bool:
        """See `coordinator.store.RunStore.post`."""
        if self._execute(_IS_POSTED, (entry_id,)).fetchone():
            return True
        if self.depth() >= depth_max:
            return False
        self._execute(_POST, (entry_id, entry))
        self._tell(EVERYBODY)
        return True

    def deliveries(self, limit: int, idle_ms: int, now: int) -> list[Delivery]:
        """See `coordinator.store.RunStore.deliveries`."""
        rows = self._execute(_AGAIN, (now - idle_ms, limit)).fetchall()
        rows += self._execute(_NEW, (limit - len(rows),)).fetchall()
        for number, *_ in rows:
            self._execute(_DELIVER, (now, number))
        return [Delivery(entry_id, entry, times + 1) for _, entry_id, entry, times in rows]

    def done(self, ids: Sequence[str]) -> None:
        """See `coordinator.store.RunStore.done`."""
        for entry_id in ids:
            self._execute(_DONE, (entry_id,))

    def depth(self) -> int:
        """See `coordinator.store.RunStore.depth`."""
        depth: int = self._execute(_DEPTH).fetchone()[0]
        return depth

    def bury(self, entry_id: str, reason: str, detail: str, now: int) -> None:
        """See `coordinator.store.RunStore.bury`."""
        self._execute(_BURY, (reason, detail, now, entry_id))
        self._execute(_DONE, (entry_id,))

    def letters(self, behind: int, limit: int) -> tuple[list[Letter], str]:
        """See `coordinator.store.RunStore.letters`."""
        limit = max(1, min(limit, PAGE_MAX))
        rows = self._execute(_LETTERS, (behind, limit + 1)).fetchall()
        more = cursors.written(cursors.LETTERS, rows[limit - 1][0]) if len(rows) > limit else ""
        return [Letter(*row[1:]) for row in rows[:limit]], more

    def requeue(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.requeue`."""
        letter = self._execute(_LETTER, (letter_id,)).fetchone()
        if letter is None:
            return False
        if not self._execute(_IS_POSTED, (letter_id,)).fetchone():
            self._execute(_POST, (letter_id, letter[0]))
        self._execute(_DROP, (letter_id,))
        self._tell(EVERYBODY)
        return True

    def drop(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.drop`."""
        return self._execute(_DROP, (letter_id,)).rowcount == 1

    def adopt(self) -> None:
        """Have what was under way with a previous owner delivered again at once."""
        self._execute(_ADOPT, (LONG_AGO_MS,))
