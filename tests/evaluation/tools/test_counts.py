"""Counts beside the audit, and waiting for them."""

from __future__ import annotations

import asyncio

from evaluation.tools.counts import Counts


async def test_who_waits_is_told_when_it_is_so_and_not_before() -> None:
    """For the second arrival, and for everything that has come to have acted."""
    counts = Counts()
    counts.arrived()
    second = asyncio.create_task(counts.until(2, settled=False))
    settled = asyncio.create_task(counts.until(2, settled=True))
    await asyncio.sleep(0)
    counts.settled()
    await asyncio.sleep(0)
    assert not second.done()
    counts.arrived()
    await second
    assert not settled.done()
    counts.settled()
    await settled
    await counts.until(2, settled=True)


async def test_who_stops_waiting_is_forgotten() -> None:
    """A caller that hung up does not disturb the others."""
    counts = Counts()
    gone, stays = (asyncio.create_task(counts.until(1, settled=False)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    counts.arrived()
    await stays


def test_what_came_to_nothing_is_counted_by_call_and_reason() -> None:
    """And can be asked for by the beginning of a call's name."""
    counts = Counts()
    for call, why in [("a:op_1", "throttled"), ("a:op_1", "throttled"), ("a:op_1", "slow"), ("b:op_1", "throttled")]:
        counts.came_to_nothing(call, why)
    assert counts.shown("a:")["without_effect"] == {"a:op_1": {"throttled": 2, "slow": 1}}
    assert len(counts.shown("")["without_effect"]) == 2
