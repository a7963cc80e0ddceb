"""Time limits that are set for each request and cost a timer now and then. In virtual time."""

from __future__ import annotations

import asyncio

from proxy.inbound.limit import Limit
from proxy.rehearsal.virtual import run


def rang(*steps: tuple[float, float | None]) -> list[float]:
    """Return when a limit was over that was set at each time to so many seconds (None lifts it)."""

    async def story() -> list[float]:
        loop = asyncio.get_running_loop()
        begin, rung = loop.time(), []
        limit = Limit(loop, lambda: rung.append(round(loop.time() - begin, 3)))
        for at, seconds in steps:
            await asyncio.sleep(at - (loop.time() - begin))
            limit.lift() if seconds is None else limit.set(seconds)
        await asyncio.sleep(1_000)
        return rung

    return run(story())


def test_limit_is_over_once() -> None:
    """After its time, and never again."""
    assert rang((0, 10)) == [10]


def test_later_time_counts_longer_or_shorter() -> None:
    """Whatever the timer was set for first."""
    assert rang((0, 10), (5, 10)) == [15]
    assert rang((0, 75), (5, 1)) == [6]
    assert rang((0, 75), (5, 1), (5.5, 75)) == [80.5]
    assert rang((0, 10), (20, 5)) == [10, 25]


def test_lifted_limit_is_never_over_until_it_is_set_again() -> None:
    """A request is served for as long as that takes."""
    assert rang((0, 10), (5, None)) == []
    assert rang((0, 10), (5, None), (100, 10)) == [110]
    assert rang((0, 10), (5, None), (7, 10)) == [17]


def test_ended_limit_calls_nobody() -> None:
    """Its connection is gone."""

    async def story() -> bool:
        over = asyncio.Event()
        limit = Limit(asyncio.get_running_loop(), over.set)
        limit.set(1)
        limit.end()
        limit.set(1)
        await asyncio.sleep(10)
        return over.is_set()

    assert not run(story())


def test_busy_connection_sets_hardly_a_timer() -> None:
    """A thousand settings within the limit's time are one timer."""

    async def story() -> int:
        loop = asyncio.get_running_loop()
        asked = 0
        plain = loop.call_at

        def counting(*args: object, **kwargs: object) -> asyncio.TimerHandle:
            nonlocal asked
            asked += 1
            return plain(*args, **kwargs)  # type: ignore[arg-type]  # as they came

        limit = Limit(loop, lambda: None)
        loop.call_at = counting  # type: ignore[method-assign]  # counted, and done
        for _ in range(1_000):
            limit.lift()
            limit.set(10)
        return asked

    assert run(story()) == 1
