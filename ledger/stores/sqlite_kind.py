"""What kind of database a file of ours is: told by its header, so that none is taken for another, nor for a new one."""

from __future__ import annotations

from msgspec import Struct

APPLICATION_ID = 0x486F6C64
"""`Hold`, in the header of each ledger: tells ours from other programs' databases."""
SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE places (
  operation TEXT NOT NULL,
  scope TEXT NOT NULL,
  version TEXT NOT NULL,
  phase TEXT NOT NULL,
  due_ms INTEGER,      -- when the lease lapses
  unknown_ms INTEGER,  -- since when the outcome is unknown
  result_ms INTEGER,   -- until when the result may be handed out
  forget_ms INTEGER,   -- from when on nothing stands here
  purge_ms INTEGER,    -- when the writer has something to delete here: the result, then the place
  record BLOB NOT NULL,
  result BLOB          -- last: a large one overflows, and what stands before it is read without it
);
CREATE UNIQUE INDEX places_ref ON places (operation, scope);
CREATE INDEX places_due ON places (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX places_unknown ON places (scope, unknown_ms, forget_ms) WHERE unknown_ms IS NOT NULL;
CREATE INDEX places_purge ON places (purge_ms) WHERE purge_ms IS NOT NULL;
"""
# A rowid table: places lie in the order of their first claim, so those of one group share pages, and a settle finds its
# place in a page at hand. Keyed by the (random) operation itself it cost 2.5 times as much, and 3 times the space.

ADDED_BY_2 = """
CREATE TABLE effects (
  scope TEXT NOT NULL,
  effect TEXT NOT NULL,
  operation TEXT NOT NULL,  -- which one holds it
  until_ms INTEGER,         -- NULL: without end
  PRIMARY KEY (scope, effect)
) WITHOUT ROWID;
CREATE INDEX effects_until ON effects (until_ms) WHERE until_ms IS NOT NULL;
CREATE INDEX places_unknown_since ON places (unknown_ms) WHERE unknown_ms IS NOT NULL;
CREATE TABLE beats (process TEXT PRIMARY KEY, count INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refusal (id INTEGER PRIMARY KEY CHECK (id = 1), until_ms INTEGER NOT NULL);
"""
_MIGRATIONS = {1: ADDED_BY_2}
"""What each older version lacks to be the next one. There is no way back: an earlier program would settle calls without
letting go of their effect keys, so it refuses the file."""


class Kind(Struct, frozen=True):
    """A kind of file.

    what            its name in messages.
    application_id  what its header says that it is.
    version         of its schema, in its header too.
    schema          as SQL, of a new file.
    migrations      what each older version lacks to be the next one.
    restart_costs   what starting with a new file instead of this one means, for whoever has to choose.
    """

    what: str
    application_id: int
    version: int
    schema: str
    migrations: dict[int, str]
    restart_costs: str

    @property
    def restore(self) -> str:
        """What to do about a file that is no good."""
        return f"restore it from a backup; or, knowing that {self.restart_costs}, move it away and start with a new one"


LEDGER = Kind(
    "ledger", APPLICATION_ID, SCHEMA_VERSION, SCHEMA + ADDED_BY_2, _MIGRATIONS, "finished calls may run again"
)
