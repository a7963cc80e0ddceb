"""One connection for everybody: replies stay matched to commands, whatever callers and servers do."""

from __future__ import annotations

import asyncio

import pytest

from ledger.store import Present, Written
from tests.ledger.redis_bench import both_loops, relayed, store_on
from tests.ledger.redis_server import RedisServer
from tests.ledger.store_bench import a_ref, a_write, put


@both_loops
@pytest.mark.fault(38)
async def test_cancelled_callers_leave_their_slots_and_others_get_their_own_replies(redis: RedisServer) -> None:
    """Cancelling a call closes nothing: replies stay matched to the calls that are left."""
    async with relayed(redis) as (store, relay):
        for i in range(60):
            await put(store, a_ref(f"op_{i}"), a_write(record=b"%d" % i))
        redis.freeze()
        reads = [asyncio.ensure_future(store.read(a_ref(f"op_{i}"))) for i in range(60)]
        await asyncio.sleep(0)
        for read in reads[::3]:
            read.cancel()
        redis.thaw()
        answers = await asyncio.gather(*reads, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::3])
        left = [(i, answer) for i, answer in enumerate(answers) if i % 3]
        assert [(i, answer.record) for i, answer in left if isinstance(answer, Present)] == [
            (i, b"%d" % i) for i in range(60) if i % 3
        ]
        assert relay.opened == 1


async def test_two_thousand_swaps_at_once_are_all_answered(redis: RedisServer) -> None:
    """A thousand claims of one place and a thousand of as many: one wins the one, each wins its own."""
    async with store_on(redis.url) as store:
        one = [store.swap(a_ref(), None, a_write()) for _ in range(1_000)]
        many = [store.swap(a_ref(f"op_x{i}"), None, a_write()) for i in range(1_000)]
        answers = await asyncio.gather(*one, *many)
        assert sum(answer == Written() for answer in answers[:1_000]) == 1
        assert answers[1_000:] == [Written()] * 1_000
