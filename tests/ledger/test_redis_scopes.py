"""Sweeps find what lapsed in every scope, whoever claimed it."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from ledger.key import Ref
from ledger.store import StoreUnavailable
from ledger.stores.redis import RedisStore
from tests.ledger.redis_bench import store_on
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, eventually, put


@pytest.mark.fault(47)
async def test_scope_with_a_foreign_index_does_not_keep_others_from_being_swept(redis: RedisServer) -> None:
    """A sweep hands out what it finds; where it finds nothing else, it says what is wrong."""
    async with store_on(redis.url) as store:
        await put(store, Ref("acme/broken", "op_2"), a_write())
        redis.ask("SET", "holdfast:{acme/broken}:due", "another's")
        claim = a_write(lease_ms=1)
        await put(store, a_ref(), claim)
        await eventually(partial(_is_due_beside_a_failure, store))
        await put(store, a_ref(), a_write("completed"))
        with pytest.raises(StoreUnavailable, match="something that Holdfast did not write"):
            await store.due(10)


async def _is_due_beside_a_failure(store: RedisStore) -> bool:
    try:
        return await store.due(10) == [a_ref()]
    except StoreUnavailable:
        return False


async def test_scopes_of_another_process_are_swept_and_counted(redis: RedisServer) -> None:
    """The registry is the server's, so a lapsed lease is found by who never heard of its scope; of more scopes than a
    sweep takes at once, all have their turn."""
    async with store_on(redis.url) as mine, store_on(redis.url) as other:
        refs = {Ref(f"acme/tool{i}", "op_1") for i in range(1_500)}
        await asyncio.gather(*(mine.swap(ref, None, a_write("unknown", lease_ms=1)) for ref in refs))
        found: set[Ref] = set()

        async def all_found_and_counted() -> bool:
            # In turn, as a sweep and a scrape would: neither uses up the other's.
            found.update(await other.due(2_000))
            counted = sum(count.count for count in await other.unknowns())
            return found == refs and counted == 1_500

        await eventually(all_found_and_counted)


@pytest.mark.fault(45)
async def test_scope_that_a_flush_forgot_is_entered_again_by_the_next_sweep(redis: RedisServer) -> None:
    """A claim after the flush, in a scope that its process believes registered, is found by others all the same."""
    async with store_on(redis.url) as mine, store_on(redis.url) as other:
        await put(mine, a_ref(), a_write())
        redis.ask("FLUSHALL")
        await put(mine, a_ref("op_2"), a_write(lease_ms=1))
        assert await other.due(10) == []
        await eventually(partial(_is_due_to, mine))
        assert await other.due(10) == [a_ref("op_2")]


async def _is_due_to(store: RedisStore) -> bool:
    return await store.due(10) == [a_ref("op_2")]
