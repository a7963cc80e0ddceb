"""Listings of places, a page at a time: by an index where there is one, else in the order of the table.

Lives in the writer's thread, like `sqlite_places`. A page looks at a bounded number of places, so that no call waits
long behind it, however few of them are in the phase that is asked for.
"""

from __future__ import annotations

import contextlib
import sqlite3

from ledger.key import Ref
from ledger.store import Listed, Page, Phase
from ledger.stores import cursors
from ledger.stores.cursors import Mark

PAGE_MAX = 500
"""Places of a page: some milliseconds of the writer's time."""
LOOKED_AT_MAX = 4_000
"""Places looked at for one page; where next to nothing is in the phase, it ends empty."""

_COLUMNS = """
rowid, scope, operation, version, iif(phase = coalesce(:phase, phase), record, NULL),
result IS NOT NULL AND (result_ms IS NULL OR result_ms > :now), due_ms - :now
"""
_STANDING = "(forget_ms IS NULL OR forget_ms > :now)"

_UNKNOWN = f"""
SELECT unknown_ms, {_COLUMNS} FROM places
WHERE unknown_ms >= :moment AND (unknown_ms > :moment OR rowid > :number) AND {_STANDING}
ORDER BY unknown_ms, rowid LIMIT :rows
"""  # noqa: S608 -- names of columns only: every value is bound
_BY_LEASE = f"""
SELECT due_ms, {_COLUMNS} FROM places
WHERE due_ms >= :moment AND (due_ms > :moment OR rowid > :number) AND {_STANDING}
ORDER BY due_ms, rowid LIMIT :rows
"""  # noqa: S608 -- as above
_ALL = f"""
SELECT 0, {_COLUMNS} FROM places WHERE rowid > :number AND {_STANDING} ORDER BY rowid LIMIT :rows
"""  # noqa: S608 -- as above


def page_of(connection: sqlite3.Connection, phase: Phase | None, after: Mark, limit: int, now: int) -> Page:
    """Return the places in `phase` behind the one that `after` marks, and where the listing goes on."""
    statement = {"unknown": _UNKNOWN, "in_flight": _BY_LEASE}.get(phase or "", _ALL)
    limit = max(1, min(limit, PAGE_MAX))
    values = {"phase": phase, "now": now, "moment": after[0], "number": after[1], "rows": LOOKED_AT_MAX}
    places: list[Listed] = []
    looked_at = 0
    with contextlib.closing(connection.cursor()) as rows:  # left half-way it would go on reading, and pin the log
        for moment, rowid, scope, operation, version, record, has_result, left in rows.execute(statement, values):
            if len(places) == limit:
                return Page(places, cursors.written(phase, after))
            looked_at += 1
            after = (moment, rowid)
            if record is not None:
                places.append(Listed(Ref(scope, operation), version, record, bool(has_result), left))
    return Page(places, cursors.written(phase, after) if looked_at == LOOKED_AT_MAX else "")
