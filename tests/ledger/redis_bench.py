"""What tests of the Redis store share: a started store, with or without a relay before its server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from ledger.key import Ref
from ledger.store import StoreUnavailable, Write, Written
from ledger.stores.redis import RedisStore
from tests.ledger.redis_relay import Relay, relay_to
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref

both_loops = pytest.mark.loops("asyncio", "uvloop")

RECORD = "holdfast:{acme/create_ticket}:record:op_1"
REPLY = "holdfast:{acme/create_ticket}:reply:op_1"
DUE = "holdfast:{acme/create_ticket}:due"
"""Where the usual operation's keys are."""

SHORT_MS = 2_000
"""A deadline that tests wait for the end of: short, and yet long enough on a busy machine for what does answer."""


@contextlib.asynccontextmanager
async def store_on(url: str, deadline_ms: int = 5_000) -> AsyncIterator[RedisStore]:
    """Yield a started store."""
    store = RedisStore(url, deadline_ms=deadline_ms)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def relayed(server: RedisServer, deadline_ms: int = 5_000) -> AsyncIterator[tuple[RedisStore, Relay]]:
    """Yield a started store whose only way to the server is a relay."""
    async with relay_to(server.path) as relay, store_on(f"redis://127.0.0.1:{relay.port}", deadline_ms) as store:
        yield store, relay


async def written(store: RedisStore, ref: Ref, write: Write) -> bool:
    """Say whether the store takes a write by now: a claim of what nobody else claims, sent again and again."""
    with contextlib.suppress(StoreUnavailable):
        assert await store.swap(ref, None, write) == Written()
        return True
    return False


async def works(store: RedisStore) -> bool:
    """Say whether the store answers."""
    try:
        await store.read(a_ref("op_probe"))
    except StoreUnavailable:
        return False
    return True
