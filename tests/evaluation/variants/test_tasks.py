"""Work that goes on by itself."""

from __future__ import annotations

import asyncio

import pytest

from evaluation.variants.tasks import Tasks


async def test_work_that_breaks_is_told_of_and_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Its traceback is on stderr."""
    tasks, done = Tasks(), asyncio.Event()

    async def breaks() -> None:
        raise RuntimeError("a bug of ours")

    async def works() -> None:
        await asyncio.sleep(0)
        done.set()

    tasks.go(works())
    broken = tasks.go(breaks())
    await done.wait()
    assert isinstance(broken.exception(), RuntimeError)
    assert "a bug of ours" in capsys.readouterr().err


async def test_work_ends_together() -> None:
    """What is running is cancelled, and waited for."""
    tasks, ended = Tasks(), []

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    tasks.go(works())
    tasks.go(works())
    await asyncio.sleep(0)
    await tasks.end()
    assert ended == [1, 1]
