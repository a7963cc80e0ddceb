"""Tests in virtual time, on the loop that rehearsals run on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from proxy.rehearsal import virtual
from proxy.rehearsal.virtual import DAY_S, START_S, Deadlock, TooLong, VirtualLoop

__all__ = [
    "DAY_S",
    "START_S",
    "Deadlock",
    "TooLong",
    "VirtualLoop",
    "ended",
    "in_virtual_time",
    "now",
    "run",
    "settled",
    "until",
]

P = ParamSpec("P")
T = TypeVar("T")


def run(story: Coroutine[Any, Any, T], *, limit_s: float = DAY_S) -> T:
    """Run `story` in virtual time and return what it returns; whatever it left running is cancelled."""
    try:
        return virtual.run(story, limit_s=limit_s)
    except (Deadlock, TooLong) as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from None


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine function that runs in virtual time."""

    @functools.wraps(test)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return told


def now() -> float:
    """Return the running loop's time, in seconds since the test began."""
    return asyncio.get_running_loop().time() - START_S


async def until(moment_s: float) -> None:
    """Return `moment_s` seconds after the test began."""
    await asyncio.sleep(moment_s - now())


async def settled(rounds: int = 50) -> None:
    """Return when everything that was ready has run; no time passes."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def ended(awaitable: Awaitable[T], within_s: float) -> T:
    """Return what `awaitable` does; fail if that takes longer than `within_s` virtual seconds."""
    async with asyncio.timeout(within_s):
        return await awaitable
