"""Posted results during a rollout, when not every replica can read every run."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.inbox import DELIVERIES_MAX, IDLE_MS, Entry
from coordinator.records import NewerRecord
from tests.coordinator.house import house
from tests.coordinator.telling import TICKET, asks, posted, started
from tests.coordinator.test_inbox import emptied, gateway, letters
from tests.proxy.virtual import in_virtual_time


@pytest.mark.fault(60)
@in_virtual_time
async def test_result_for_a_run_of_a_newer_schema_waits_for_a_replica_that_can_read_it() -> None:
    """During a rollout: what this version must leave alone is not buried for that, however often it is delivered."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        await asyncio.sleep(1)

        async def newer(entry: Entry, times: int) -> object:
            raise NewerRecord("a run of schema 2, and this version knows 1")

        taken = replica.inbox._taken
        replica.inbox._taken = newer  # type: ignore[method-assign,assignment]
        assert await replica.inbox.accept(posted(now, run_id, step.calls[0].id)) == "accepted"
        await asyncio.sleep(IDLE_MS / 1_000 * (DELIVERIES_MAX + 2))
        assert (await now.store.depth(), await letters(now)) == (1, [])
        replica.inbox._taken = taken  # type: ignore[method-assign]
        await emptied(now)
        assert await letters(now) == []
