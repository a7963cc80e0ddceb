"""A coordinator that dies at any step: another takes over, each call runs once, each step is accepted once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from coordinator.turns import NotStarted, Started, TurnAsk
from ledger.store import StoreUnavailable
from tests.coordinator.house import House, Replica, house, wanted
from tests.proxy.virtual import run

PLAN = [[wanted("create_ticket", subject="a"), wanted("send_email", to="b")], [wanted("refund_payment", amount=1)]]
STEPS_MAX = 400
"""More than a turn takes; the search ends where a life is long enough."""


async def asked(replica: Replica) -> Started | NotStarted | None:
    """Ask a replica for the turn, as a client would: it hangs up after a while."""
    with contextlib.suppress(TimeoutError, StoreUnavailable):
        async with asyncio.timeout(5):
            return await replica.turns.start(TurnAsk("turn-1", "plan", "asst_1"))
    return None


async def story(now: House, steps: int) -> bool:
    """Start a turn at a replica that has `steps` to live, and ask again at another; say whether the first one died."""
    now.api.plans["plan"] = PLAN
    mortal = now.replica(steps=steps)
    told = await asked(mortal)
    heir = now.replica()
    if mortal.lifetime.over.is_set():
        await mortal.kill()
    if not isinstance(told, Started):
        for _ in range(20):
            told = await asked(heir)
            if isinstance(told, Started):
                break
            await asyncio.sleep(1)
    assert isinstance(told, Started)
    record = await now.ended(told.run_id, 120)
    assert record.status == "completed"
    assert len(now.life.runs) == 1
    assert sorted(tool for _, tool, _ in now.tools.executed) == ["create_ticket", "refund_payment", "send_email"]
    assert len(now.api.accepted) == 2
    return mortal.lifetime.over.is_set()


@pytest.mark.fault(63, 64)
def test_death_at_any_step_leaves_each_call_and_each_submission_once() -> None:
    """For every n: the process dies at its n-th touch of store, API or proxy, before it or after it took effect."""

    async def tried(steps: int) -> bool:
        async with house() as now:
            return await story(now, steps)

    deaths = 0
    while run(tried(deaths)):
        deaths += 1
        assert deaths < STEPS_MAX
    assert deaths > 30
