"""More results than fit: producers are told to wait and do, nothing is lost, and nothing piles up."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.inbox import Entry
from coordinator.means import Limits
from tests.coordinator.house import House, Replica, house, wanted
from tests.coordinator.telling import asks, posted, started, written
from tests.proxy.virtual import in_virtual_time, settled

RUNS, CALLS = 24, 10
QUEUE_MAX = 8
RETRY_S = 1.0
"""What a producer waits when it is told that the queue is full: the answer's Retry-After."""


class Watched:
    """How deep the queue was at most, and how often producers were told to wait."""

    def __init__(self) -> None:
        self.deepest = 0
        self.full = 0


async def produce(now: House, replica: Replica, entry: Entry, seen: Watched) -> None:
    """Post one result as a gateway does: again, after a while, as often as the queue is full."""
    while True:
        answer = await replica.inbox.accept(entry)
        seen.deepest = max(seen.deepest, await now.store.depth())
        if answer != "full":
            assert answer in {"accepted", "duplicate"}, answer
            return
        seen.full += 1
        await asyncio.sleep(RETRY_S)


@pytest.mark.fault(71)
@in_virtual_time
async def test_producers_that_are_told_to_wait_lose_nothing_and_nothing_piles_up() -> None:
    """240 results at once into a queue of 8: it never holds more, every run gets its own, and all tasks are gone."""
    async with house(Limits(queue_max=QUEUE_MAX)) as now:
        replica = now.replica(elsewhere=frozenset({"create_ticket"}))
        await settled()
        before = len(asyncio.all_tasks())
        entries = []
        for number in range(RUNS):
            step = [wanted("create_ticket", number=number, call=call) for call in range(CALLS)]
            run_id = await started(now, step, turn=f"turn-{number}")
            calls = (await asks(now, run_id)).calls
            await written(now, run_id, "asked")
            entries += [posted(now, run_id, call.id, f'"{call.id}"') for call in calls]
        seen = Watched()
        await asyncio.gather(*(produce(now, replica, entry, seen) for entry in entries))
        for run_id in list(now.life.runs):
            assert (await now.ended(run_id, 600)).status == "completed"
        assert seen.full > 0
        assert seen.deepest <= QUEUE_MAX
        assert await now.store.depth() == 0
        assert sorted(output for _, outputs in now.api.accepted for output in outputs) == sorted(
            entry.output for entry in entries
        )
        await settled()
        assert len(asyncio.all_tasks()) <= before
