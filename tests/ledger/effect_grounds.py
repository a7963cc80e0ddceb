"""Where random histories of the ledger alone take place: each store, empty for each example, in one process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol

from ledger.store import Store
from ledger.stores.memory import MemoryStore
from ledger.stores.redis import RedisStore
from ledger.stores.redis_cluster import RedisClusterStore
from ledger.stores.sqlite import SqliteStore
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import SteppedClock
from tests.redis_topologies import Cluster


class Ground(Protocol):
    """A store for each example."""

    def open(self) -> tuple[Store, SteppedClock | None]:
        """Return an empty store, not started yet, and its clock if that can be moved."""

    def over(self) -> None:
        """The example has ended."""


class OnMemory:
    """In virtual time."""

    def open(self) -> tuple[Store, SteppedClock | None]:
        """See `Ground.open`."""
        clock = SteppedClock()
        return MemoryStore(clock), clock

    def over(self) -> None:
        """See `Ground.over`."""


class OnSqlite:
    """A file of its own for each example."""

    def open(self) -> tuple[Store, SteppedClock | None]:
        """See `Ground.open`."""
        self._folder = tempfile.TemporaryDirectory(prefix="histories-")
        clock = SteppedClock()
        return SqliteStore(str(Path(self._folder.name) / "ledger.db"), deadline_ms=20_000, clock=clock), clock

    def over(self) -> None:
        """See `Ground.over`."""
        self._folder.cleanup()


class OnRedis:
    """One server, emptied for each example; its clock is real."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def open(self) -> tuple[Store, SteppedClock | None]:
        """See `Ground.open`."""
        self._server.ask("FLUSHALL")
        return RedisStore(self._server.url, deadline_ms=10_000), None

    def over(self) -> None:
        """See `Ground.over`."""


class OnCluster:
    """Three primaries, emptied for each example; their clock is real."""

    def __init__(self, nodes: Cluster) -> None:
        self._nodes = nodes

    def open(self) -> tuple[Store, SteppedClock | None]:
        """See `Ground.open`."""
        for primary in self._nodes.primaries:
            primary.ask("FLUSHALL")
        return RedisClusterStore(self._nodes.url, deadline_ms=10_000), None

    def over(self) -> None:
        """See `Ground.over`."""
