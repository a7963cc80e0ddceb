"""Whether the file's memory went back: heartbeats are counted in it, and somebody outside knows how far they had come.

Lives in the writer's thread, like `sqlite_places`. What can go back under a process that owns its file is the file
itself, replaced by a backup or removed: then another file (or none) has its name, and what is written here goes to the
one that has lost it.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from ledger.store import Beat

log = logging.getLogger(__name__)

COUNT_KEPT_MS = 12 * 60 * 60 * 1000
"""How long a count outlives its process's last beat: a process that comes back has another name."""

_REMEMBERED = "SELECT count FROM beats WHERE process = ?"
_COUNT = """
INSERT INTO beats (process, count, at_ms) VALUES (?, ?, ?)
ON CONFLICT (process) DO UPDATE SET count = excluded.count, at_ms = excluded.at_ms
"""
_FORGET_OLD = "DELETE FROM beats WHERE at_ms <= ?"
_REFUSAL = "SELECT until_ms FROM refusal"
_REFUSE = """
INSERT INTO refusal (id, until_ms) VALUES (1, ?)
ON CONFLICT (id) DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)
"""
_ACCEPT = "DELETE FROM refusal"


class Beats:
    """Counts in the file at `path`, which is open. Every time is an argument; raises `sqlite3.Error`."""

    def __init__(self, cursor: sqlite3.Cursor, path: Path) -> None:
        self._cursor = cursor
        self._path = path
        self._identity = _identity(path)
        self._told = False

    def beat(self, process: str, acknowledged: int, refuse_ms: int, now: int) -> Beat:
        """See `ledger.store.Store.beat`."""
        row = self._cursor.execute(_REMEMBERED, (process,)).fetchone()
        remembered: int = row[0] if row else 0
        if remembered < acknowledged or self._replaced():
            self._cursor.execute(_REFUSE, (now + refuse_ms,))
        self._cursor.execute(_COUNT, (process, remembered + 1, now))
        refusal = self._cursor.execute(_REFUSAL).fetchone()
        return Beat(remembered + 1, max(0, refusal[0] - now) if refusal else 0)

    def accept(self) -> None:
        """See `ledger.store.Store.accept`."""
        self._cursor.execute(_ACCEPT)

    def forget_old(self, now: int) -> None:
        """Delete the counts of processes that are long gone."""
        self._cursor.execute(_FORGET_OLD, (now - COUNT_KEPT_MS,))

    def _replaced(self) -> bool:
        if _identity(self._path) == self._identity:
            return False
        if not self._told:
            log.error("the ledger %s was replaced or removed while it was in use: restart this process", self._path)
            self._told = True
        return True


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at `path` from any other; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
