"""The table of effect keys: which operation of a scope holds one, and until when.

Lives in the writer's thread, inside a transaction that somebody else begins and commits, like `sqlite_places`.
"""

from __future__ import annotations

import sqlite3

from ledger.key import Ref
from ledger.store import EffectWrite

_HOLDER = "SELECT operation FROM effects WHERE scope = ? AND effect = ? AND (until_ms IS NULL OR until_ms > ?)"
_HOLD = """
INSERT INTO effects (operation, scope, effect) VALUES (?, ?, ?)
ON CONFLICT (scope, effect) DO UPDATE SET operation = excluded.operation, until_ms = NULL
"""
_HOLD_UNTIL = """
INSERT INTO effects (operation, scope, effect, until_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (scope, effect) DO UPDATE SET operation = excluded.operation, until_ms = excluded.until_ms
"""
_DROP = "DELETE FROM effects WHERE scope = ? AND effect = ?"
_PURGE = """
DELETE FROM effects WHERE (scope, effect) IN (SELECT scope, effect FROM effects WHERE until_ms <= ? LIMIT ?)
"""


class Effects:
    """Every time is an argument, in the store's milliseconds; raises `sqlite3.Error`."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def holder(self, scope: str, effect: str, now: int) -> str | None:
        """Return the operation that holds `effect`, if one does."""
        row = self._cursor.execute(_HOLDER, (scope, effect, now)).fetchone()
        return None if row is None else row[0]

    def hold(self, ref: Ref, effect: EffectWrite, now: int) -> None:
        """Have `ref` hold the effect key, or let it go, as `effect` says. That it may is the caller's to know."""
        match effect.hold:
            case "claim" | "keep":
                self._cursor.execute(_HOLD, (ref.operation, ref.scope, effect.key))
            case "window" if effect.window_ms > 0:
                self._cursor.execute(_HOLD_UNTIL, (ref.operation, ref.scope, effect.key, now + effect.window_ms))
            case _:
                self._cursor.execute(_DROP, (ref.scope, effect.key))

    def purge(self, now: int, limit: int) -> int:
        """Delete up to `limit` holds whose window is over; return how many."""
        return self._cursor.execute(_PURGE, (now, limit)).rowcount
