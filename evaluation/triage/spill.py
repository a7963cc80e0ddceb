"""Where events are kept: a temporary SQLite database, in memory while it is small and on disk when it is not.

It has no name and is gone with the process, however that ends. Times of events are indexed once everything is in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Self

from evaluation.triage.event import Event

CACHE_KIB = 16 * 1024
"""What SQLite may keep in memory; the rest is on disk, in SQLITE_TMPDIR or TMPDIR."""

PAGE_BYTES = 8192
BATCH = 1_000

COLUMNS = Event.__struct_fields__
ORDER = "at, service, text, request, audit, file, line"
"""A total order that does not depend on which file was read first, but for lines that are the same."""

# Partial, because most lines lack most ids. A look-up says `<> ''` too: SQLite cannot know what `?` will be.
INDEXES = {
    "by_time": "event (at)",
    "by_kind": "event (kind, at)",
    "by_request": "event (request, kind) WHERE request <> ''",
    "by_run": "event (run, at) WHERE run <> ''",
    "by_operation": "event (operation) WHERE operation <> ''",
    "by_audit": "event (audit) WHERE audit <> ''",
}


class SpillFull(Exception):
    """The events do not fit into the space that they may take on disk."""


class Spill:
    """Events, and the tables that are made of them. `bytes_max` bounds the space on disk."""

    def __init__(self, bytes_max: int) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute(f"PRAGMA max_page_count = {max(bytes_max // PAGE_BYTES, 16)}")
        for setting in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE", "locking_mode = EXCLUSIVE"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute(f"CREATE TABLE event ({', '.join(COLUMNS)})")
        self._insert = f"INSERT INTO event VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
        self._batch: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, event: Event) -> None:
        """Keep an event. Raises `SpillFull`."""
        self._batch.append(tuple([getattr(event, column) for column in COLUMNS]))
        if len(self._batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises `SpillFull`."""
        with _translated():
            self._database.execute("BEGIN")
            self._database.executemany(self._insert, self._batch)
            self._database.execute("COMMIT")
        self._batch.clear()

    def complete(self) -> None:
        """Everything is in: index it. Raises `SpillFull`."""
        self.flush()
        for name, what in INDEXES.items():
            self.run(f"CREATE INDEX {name} ON {what}")

    def run(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Execute one statement. Raises `SpillFull`."""
        with _translated():
            return self._database.execute(statement, values)

    def events(self, where: str, *values: object, by: str, limit: int = -1) -> Iterator[Event]:
        """Yield the events that fulfil a condition, in their order, found by an index of `INDEXES`: one that does not
        serve the condition is an error, and never a scan."""
        source = f"event INDEXED BY {by}"
        wanted = f"SELECT {', '.join(COLUMNS)} FROM {source} WHERE {where} ORDER BY {ORDER} LIMIT {limit}"  # noqa: S608
        for row in self.run(wanted, *values):
            yield Event(**dict(zip(COLUMNS, row, strict=True)))

    def value(self, statement: str, *values: object) -> Any:
        """Return the first column of the first row, None without a row."""
        row = self.run(statement, *values).fetchone()
        return None if row is None else row[0]


class _translated:  # noqa: N801  # reads as the statement that it is
    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError) and "full" in str(error):
            raise SpillFull(str(error)) from None
