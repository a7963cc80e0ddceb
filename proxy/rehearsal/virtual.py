"""Virtual time: an event loop whose clock jumps to the next timer as soon as nothing else is left to do.

Ninety seconds pass in no time, and always in the same order. A story that waits for what will never come fails at once:
`Deadlock` when nothing is ready and no timer is set, `TooLong` when the clock has gone on for longer than it may.

A store on a disk or a server answers in real time. While such a call is under way (`outside`) the clock stands still
and the loop really waits, so that a deadline in virtual time is never missed because a disk was slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

START_S = 1_000.0
DAY_S = 24 * 3_600.0
OUTSIDE_MAX_S = 20.0
"""How long a real store may take before the story is given up."""

T = TypeVar("T")


class Deadlock(BaseException):
    """Nothing is ready, no timer is set: whoever waits would wait for ever."""


class TooLong(BaseException):
    """More virtual time went by than was allowed: somebody waits for what nothing brings."""


class _Selector(selectors.DefaultSelector):
    """Looks at real files without waiting, and moves the loop's clock where it would have waited."""

    def __init__(self, owner: VirtualLoop) -> None:
        super().__init__()
        self._owner = owner

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, at once; or, with a call outside under way, when something is."""
        if self._owner.calls_outside and timeout != 0:
            found = super().select(OUTSIDE_MAX_S)
            if not found:
                raise Deadlock(f"a store did not answer within {OUTSIDE_MAX_S:.0f} s")
            return found
        found = super().select(0)
        if not found and timeout != 0:
            self._owner.jump(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own."""

    def __init__(self, limit_s: float = DAY_S) -> None:
        self._now_s = START_S
        self._end_s = START_S + limit_s
        self.calls_outside = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now_s

    def jump(self, seconds: float | None) -> None:
        """Let time pass that nobody has a use for."""
        if seconds is None:
            raise Deadlock("nothing is ready and no timer is set")
        self._now_s += seconds
        if self._now_s > self._end_s:
            raise TooLong(f"{self._now_s - START_S:.0f} virtual seconds have passed")

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Hold the clock while something in real time is waited for."""
        self.calls_outside += 1
        try:
            yield
        finally:
            self.calls_outside -= 1


def run(story: Coroutine[Any, Any, T], *, limit_s: float = DAY_S) -> T:
    """Run `story` in virtual time and return what it returns; whatever it left running is cancelled.

    Raises `Deadlock` and `TooLong`, which no `except Exception` on the way takes for its own.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(limit_s)) as runner:
        return runner.run(story)
