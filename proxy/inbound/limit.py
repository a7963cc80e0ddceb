"""How long something may last: one timer, which busy connections hardly ever set."""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable


class Limit:
    """Calls `over` once when the time that was set last has passed.

    A timer that is set already may ring for a time that was set before: it looks then, and is set anew. So a connection
    that serves a thousand requests a second sets one timer in all of its limit, not two for each request.
    """

    __slots__ = ("_deadline", "_loop", "_over", "_rings_at", "_timer")

    def __init__(self, loop: AbstractEventLoop, over: Callable[[], None]) -> None:
        self._loop = loop
        self._over: Callable[[], None] | None = over
        self._deadline = self._rings_at = math.inf
        self._timer: TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Allow so many seconds from now."""
        self._deadline = self._loop.time() + seconds
        if self._deadline < self._rings_at:
            if self._timer is not None:
                self._timer.cancel()
            self._start()

    def lift(self) -> None:
        """Allow any time."""
        self._deadline = math.inf

    def end(self) -> None:
        """Call nobody any more."""
        self._over = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._rings_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._rings_at = math.inf
        if self._over is None or self._deadline == math.inf:
            return
        if self._loop.time() < self._deadline:
            self._start()
        else:
            self._deadline = math.inf
            self._over()
