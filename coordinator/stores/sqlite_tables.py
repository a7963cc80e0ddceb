"""What is in a coordinator's file, and the work that the writer's thread is given on it.

A call is a function of the tables and the store's now, that either only looks or also changes: the writer
(`ledger.stores.sqlite_writer`) begins a transaction for the latter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from coordinator.stores.holds import Told
from coordinator.stores.sqlite_places import Places
from coordinator.stores.sqlite_queue import Queue
from ledger.stores.sqlite_kind import Kind

APPLICATION_ID = 0x486F6C72
"""`Holr`, in the header of each file: tells a coordinator's from a ledger, and from other programs' databases."""

SCHEMA = """
CREATE TABLE places (
  key TEXT NOT NULL,
  version TEXT NOT NULL,
  number INTEGER NOT NULL,  -- of the last write, a later one's is higher
  label TEXT NOT NULL,
  owner TEXT NOT NULL,      -- empty: nobody's
  nudged INTEGER NOT NULL,
  due_ms INTEGER,           -- when it falls due: an owned one, when its owner's visibility is over
  forget_ms INTEGER,        -- from when on nothing stands here
  record BLOB NOT NULL
);
CREATE UNIQUE INDEX places_key ON places (key);
CREATE INDEX places_due ON places (due_ms, key) WHERE due_ms IS NOT NULL;
CREATE INDEX places_label ON places (label, number, forget_ms) WHERE label <> '';
CREATE INDEX places_number ON places (number) WHERE label <> '';
CREATE INDEX places_forget ON places (forget_ms) WHERE forget_ms IS NOT NULL;
CREATE TABLE heard (webhook TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX heard_until ON heard (until_ms);
CREATE TABLE results (
  number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order in which they were posted
  id TEXT NOT NULL UNIQUE,
  delivered_ms INTEGER,                      -- when last; NULL: not yet
  times INTEGER NOT NULL,
  entry BLOB NOT NULL
);
CREATE INDEX results_delivered ON results (delivered_ms, number);
CREATE TABLE letters (
  number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in the order in which they were buried
  id TEXT NOT NULL UNIQUE,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  entry BLOB NOT NULL
);
"""
RUNS = Kind("run store", APPLICATION_ID, 1, SCHEMA, {}, "runs under way and accepted results are forgotten")


class Look(Struct, frozen=True):
    """A call that changes nothing."""

    call: Callable[[Tables, int], Any]


class Change(Struct, frozen=True):
    """A call that may change something, and so needs a transaction."""

    call: Callable[[Tables, int], Any]


class Tables:
    """All tables of a file; see `ledger.stores.sqlite_writer.Tables`."""

    writes: tuple[type, ...] = (Change,)

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.changed: list[Any] = []
        self.places = Places(connection, self._tell)
        self.queue = Queue(connection, self._tell)

    def carry_out(self, work: Look | Change, now: int) -> Any:
        """Do one call and return its answer."""
        return work.call(self, now)

    def adopt(self, now: int) -> None:
        """Make due and deliverable at once what a previous owner of the file was at work on."""
        self.places.adopt(now)
        self.queue.adopt()

    def purge(self, now: int, limit: int) -> int:
        """Delete up to `limit` forgotten places, and as many notifications; return how many, of the more frequent."""
        return self.places.purge(now, limit)

    def _tell(self, told: Told) -> None:
        self.changed.append(told)
