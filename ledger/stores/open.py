"""From the `--store` flag to a store: one URL, one kind of store."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from ledger.store import Store
from ledger.stores.redis_url import StoreUrl, parse

KINDS = (
    "sqlite:///PATH (absolute), redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,…/NAME, redis+cluster://HOST:PORT,…,"
    " each with rediss for TLS, unix:///SOCKET or memory://"
)
DEADLINE_MS = 1_000
"""Within this every call is answered, or fails with `StoreUnavailable` (contract, section 6)."""


class BadStoreUrl(ValueError):
    """The URL names no store that this program has. The message names the flag and the remedy, never a password."""


def open_store(url: str, *, deadline_ms: int = DEADLINE_MS, password_file: str | None = None) -> Store:
    """Return the store that `url` names, not started yet; `password_file` holds the password for a Redis. Raises
    `BadStoreUrl`."""
    match named(url, password_file):
        case None:
            from ledger.stores.memory import MemoryStore

            return MemoryStore()
        case str(path):
            from ledger.stores.sqlite import SqliteStore

            return SqliteStore(path, deadline_ms=deadline_ms)
        case servers if servers.topology == "cluster":
            from ledger.stores.redis_cluster import RedisClusterStore

            return RedisClusterStore(servers, deadline_ms=deadline_ms)
        case servers:
            from ledger.stores.redis import RedisStore

            return RedisStore(servers, deadline_ms=deadline_ms)


def named(url: str, password_file: str | None = None) -> str | StoreUrl | None:
    """Return what `url` names: a SQLite file's path, Redis servers, or nothing but memory. Raises `BadStoreUrl`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadStoreUrl(f"--store is not a URL ({error}): give {KINDS}") from None
    if password_file is not None and parts.scheme in {"memory", "sqlite"}:
        raise BadStoreUrl(f"--store {parts.scheme} has no password: take --store-password-file away, or give {KINDS}")
    match parts.scheme:
        case "memory":
            if parts.netloc or parts.path or parts.query or parts.fragment:
                raise BadStoreUrl(f"--store takes memory:// alone, nothing behind it; or give {KINDS}")
            return None
        case "sqlite":
            return _path_of(parts)
        case "redis" | "rediss" | "unix" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster" | "rediss+cluster":
            try:
                return parse(url, password_file)
            except ValueError as error:
                raise BadStoreUrl(f"--store makes no sense: {error}; give {KINDS}") from None
        case "":
            raise BadStoreUrl(f"--store has no scheme: give {KINDS}")
        case other:
            raise BadStoreUrl(f"--store does not know {other}:// URLs: give {KINDS}")


def _path_of(parts: SplitResult) -> str:
    """Return the file of a `sqlite:///PATH` URL: always absolute, since who restarts a sidecar may do so elsewhere."""
    if parts.netloc or not parts.path.startswith("/"):
        raise BadStoreUrl("--store names a SQLite file by its absolute path, with three slashes: sqlite:///PATH")
    if parts.query or parts.fragment:
        raise BadStoreUrl("--store sqlite:///PATH takes no options; write a ? or # in a file's name as %3F or %23")
    path = unquote(parts.path)
    if path.endswith("/") or "\x00" in path:
        raise BadStoreUrl("--store names a SQLite file, not a folder: sqlite:///PATH/ledger.db")
    return "/" + path.lstrip("/")  # four slashes are what some are used to: the same file
