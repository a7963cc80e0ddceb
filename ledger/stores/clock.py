"""The clock of stores that live in one process: epoch milliseconds that never jump while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the store's now in milliseconds. Must be callable from any thread."""


def steady_clock(wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = time.monotonic_ns) -> Clock:
    """Return a clock that reads the wall once, now, and counts on from there by the monotonic clock.

    An administrator or NTP stepping the wall clock must not lapse leases, nor keep them from lapsing. Across restarts
    the wall is all there is, so retention is measured by it.
    """
    offset_ns = wall_ns() - steady_ns()

    def now_ms() -> int:
        return (steady_ns() + offset_ns) // 1_000_000

    return now_ms
