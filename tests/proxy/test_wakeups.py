"""Wake-ups from the store, handed to whoever waits for that operation in this process."""

from __future__ import annotations

import asyncio

import pytest

from proxy.wakeups import Wakeups
from tests.proxy.virtual import in_virtual_time, now, settled


@in_virtual_time
async def test_who_waits_for_the_operation_is_woken() -> None:
    """All of them, and nobody else."""
    wakeups = Wakeups()
    woken: list[str] = []

    async def wait(name: str, operation: str) -> None:
        with wakeups.expect(operation) as expected:
            await expected.wait(60)
        woken.append(name)

    tasks = [asyncio.create_task(wait(name, operation)) for name, operation in (("a", "1"), ("b", "1"), ("c", "2"))]
    await settled()
    wakeups.heard("1")
    await settled()
    assert woken == ["a", "b"]
    assert now() == 0
    await asyncio.gather(*tasks)
    assert now() == pytest.approx(60)
    assert wakeups.waiting == {}


@in_virtual_time
async def test_wake_up_between_expecting_and_waiting_is_not_lost() -> None:
    """It is expected before the record is read, so that a change in between wakes at once."""
    wakeups = Wakeups()
    with wakeups.expect("1") as expected:
        wakeups.heard("1")
        await expected.wait(60)
    assert now() == 0


@in_virtual_time
async def test_wake_up_that_nobody_expects_is_nothing() -> None:
    """The store may tell of what is long over, and of what never was."""
    wakeups = Wakeups()
    wakeups.heard("1")
    assert wakeups.waiting == {}
    with wakeups.expect("1") as expected:
        await expected.wait(1)
    assert now() == pytest.approx(1)


@in_virtual_time
async def test_waiting_that_is_cancelled_leaves_nothing() -> None:
    """A process that stops holds no events."""
    wakeups = Wakeups()

    async def wait() -> None:
        with wakeups.expect("1") as expected:
            await expected.wait(60)

    task = asyncio.create_task(wait())
    await settled()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert wakeups.waiting == {}
