"""The Lua scripts that Redis runs for coordinators; `scripts/runs.lua` says which keys there are.

Lua compares, Python judges. All keys share one hash tag, so that any script touches one slot: in a cluster all runs
live on one shard (decision 0029).
"""

from __future__ import annotations

import functools
from types import NoneType

from ledger.stores.redis_fitness import Layout
from ledger.stores.redis_scripts import script_of

BASE = b"holdfast:{runs}:"
"""What all keys of all coordinators begin with."""
CHANNEL = BASE + b"wake"
RESULTS = BASE + b"results"
LAYOUT = Layout("run store", BASE + b"schema", 1)

_script = functools.partial(script_of, "coordinator.stores", "runs")

SWAP = _script("swap", int, list)
READ = _script("read", list, NoneType)
TAKE = _script("take", list)
RENEW = _script("renew", list)
HURRY = _script("hurry", int)
HEAR = _script("hear", int)
SCAN = _script("scan", list)
COUNTS = _script("counts", list)
POST = _script("post", int)
DELIVERIES = _script("deliveries", list)
DONE = _script("done", int)
BURY = _script("bury", int)
LETTERS = _script("letters", list)
REQUEUE = _script("requeue", int)
DROP = _script("drop", int)
TIDY = _script("tidy", int)
ALL = (SWAP, READ, TAKE, RENEW, HURRY, HEAR, SCAN, COUNTS, POST, DELIVERIES, DONE, BURY, LETTERS, REQUEUE, DROP, TIDY)
