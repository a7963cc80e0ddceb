"""The alarm rings when it is told to, not before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from evaluation.bench.alarm import Alarm

pytestmark = pytest.mark.loops("asyncio", "uvloop")


class Bell:
    """Notes when it is rung."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.at_s = 0.0
        self.times = 0

    def ring(self) -> None:
        """Note the time."""
        self.at_s = time.monotonic()
        self.times += 1
        self.rung.set()

    async def until_rung(self) -> None:
        """Wait, but not for ever."""
        async with asyncio.timeout(60):
            await self.rung.wait()


@pytest.fixture
async def bell() -> Bell:
    """A bell that has not been rung."""
    return Bell()


@pytest.fixture
async def alarm(bell: Bell) -> AsyncIterator[Alarm]:
    """An alarm that rings the bell."""
    alarm = Alarm(bell.ring)
    yield alarm
    alarm.close()


async def test_alarm_rings_once_and_not_early(alarm: Alarm, bell: Bell) -> None:
    """An alarm rings at its time or after it, to the microsecond, and once."""
    at_s = time.monotonic() + 0.0204
    alarm.arm(at_s)
    await bell.until_rung()
    assert bell.at_s >= at_s - 1e-6
    assert bell.times == 1


async def test_time_that_has_passed_rings_at_once(alarm: Alarm, bell: Bell) -> None:
    """What is overdue rings now; zero does not switch it off."""
    alarm.arm(0)
    await bell.until_rung()


async def test_new_time_replaces_the_old_one(alarm: Alarm, bell: Bell) -> None:
    """An alarm has one time: the last one it was given."""
    alarm.arm(time.monotonic() + 3600)
    alarm.arm(time.monotonic())
    await bell.until_rung()
    assert bell.times == 1
