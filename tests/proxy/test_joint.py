"""The place where an operation's callers meet: who waits is woken by every change, or by the clock."""

from __future__ import annotations

import asyncio

import pytest

from proxy.joint import Joint
from tests.ledger.samples import completed, in_flight
from tests.proxy.virtual import in_virtual_time, now, settled


@in_virtual_time
async def test_publishing_wakes_everybody_once() -> None:
    """Whoever waits looks again and finds what was published."""
    joint = Joint()
    waits = [asyncio.create_task(joint.changed(None)) for _ in range(3)]
    await settled()
    assert len(joint.waiters) == 3
    joint.publish(completed(), None, ended=True)
    await asyncio.gather(*waits)
    assert (joint.record, joint.result, joint.ended) == (completed(), None, True)
    assert joint.waiters == []


@in_virtual_time
async def test_waiting_ends_with_the_clock() -> None:
    """At the moment given, with nothing left behind."""
    joint = Joint()
    await joint.changed(asyncio.get_running_loop().time() + 5)
    assert now() == pytest.approx(5)
    assert joint.waiters == []


@in_virtual_time
async def test_wake_before_the_clock_leaves_no_timer() -> None:
    """A timer for each of ten thousand waiters would outlive them by half a minute."""
    joint = Joint()
    loop = asyncio.get_running_loop()
    wait = asyncio.create_task(joint.changed(loop.time() + 30))
    await settled()
    joint.wake()
    await wait
    assert now() == 0
    assert [timer for timer in getattr(loop, "_scheduled") if not timer.cancelled()] == []  # noqa: B009


@pytest.mark.fault(3)
@in_virtual_time
async def test_waiter_that_goes_takes_nobody_with_it() -> None:
    """A caller that hangs up is gone from the list; the others are woken as before."""
    joint = Joint()
    leaves, stays = (asyncio.create_task(joint.changed(None)) for _ in range(2))
    await settled()
    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    assert len(joint.waiters) == 1
    joint.publish(in_flight(), None, ended=False)
    await stays
    assert not joint.ended


@in_virtual_time
async def test_wake_and_clock_in_the_same_moment_are_one() -> None:
    """Neither comes too late for the other."""
    joint = Joint()
    loop = asyncio.get_running_loop()
    wait = asyncio.create_task(joint.changed(loop.time() + 1))
    loop.call_at(loop.time() + 1, joint.wake)
    await wait
    assert now() == pytest.approx(1)
