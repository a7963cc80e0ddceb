"""From the `--store` flag to a coordinator's store: the same URLs as the proxy's, the same words about wrong ones."""

from __future__ import annotations

from coordinator.store import RunStore
from ledger.stores.open import DEADLINE_MS, named


def open_run_store(url: str, *, deadline_ms: int = DEADLINE_MS, password_file: str | None = None) -> RunStore:
    """Return the store that `url` names, not started yet; `password_file` holds the password for a Redis. Raises
    `ledger.stores.open.BadStoreUrl`."""
    match named(url, password_file):
        case None:
            from coordinator.stores.memory import MemoryRunStore

            return MemoryRunStore()
        case str(path):
            from coordinator.stores.sqlite import SqliteRunStore

            return SqliteRunStore(path, deadline_ms=deadline_ms)
        case servers:
            from coordinator.stores.redis import RedisRunStore

            return RedisRunStore(servers, deadline_ms=deadline_ms)
