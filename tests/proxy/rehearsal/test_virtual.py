"""Time that passes when nobody has a use for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.rehearsal.virtual import Deadlock, TooLong, run


def test_hours_pass_at_once_and_in_order() -> None:
    """Timers fire in the order of their times, and the clock shows them."""
    seen: list[tuple[str, float]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, asyncio.get_running_loop().time()))

    async def story() -> None:
        await asyncio.gather(wait("later", 7_200), wait("sooner", 3_600))

    start = time.monotonic()
    run(story())
    assert [name for name, _ in seen] == ["sooner", "later"]
    assert seen[1][1] - seen[0][1] == pytest.approx(3_600)
    assert time.monotonic() - start < 5


def test_waiting_for_what_never_comes_ends_at_once() -> None:
    """Without a timer it is a deadlock; with timers for ever it is too long."""

    async def never() -> None:
        await asyncio.Event().wait()

    async def always() -> None:
        while True:  # noqa: ASYNC110  # somebody who looks for ever
            await asyncio.sleep(60)

    with pytest.raises(Deadlock):
        run(never())
    with pytest.raises(TooLong):
        run(always(), limit_s=3_600)
