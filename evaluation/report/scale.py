"""Where a number stands on a plot, and which numbers are written below it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

STEPS = (1, 2, 5)
TICKS = 5


class Scale(Struct, frozen=True):
    """From numbers between `low` and `high` to places between 0 and 1; beyond them, to the nearer end."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, number: float) -> float:
        """Return where a number stands."""
        low, high, at = (
            (math.log(part) if self.log else part) for part in (self.low, self.high, max(number, self.low))
        )
        return min(max((at - low) / (high - low), 0.0), 1.0)


def scale_for(numbers: Iterable[float], *, from_zero: bool, log: bool = False, most: float = math.inf) -> Scale:
    """Return a scale on which all these numbers, of which those that are not finite are left out, have a place; it ends
    at a tick, and at `most` at the latest."""
    found = [number for number in numbers if math.isfinite(number) and (number > 0 or not log)]
    low, high = (min(found), max(found)) if found else (1.0, 1.0) if log else (0.0, 1.0)
    if log:
        return _logarithmic(low, high)
    low = min(low, 0.0) if from_zero else low
    if high <= low:
        high = low + (abs(low) * 0.01 or 1.0)
    step = _step((high - low) / TICKS)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(tick * step for tick in range(begin, end + 1) if tick * step <= most + 1e-9)
    return Scale(ticks[0], ticks[-1], ticks) if len(ticks) > 1 else Scale(low, high, (low, high))


def tick_label(number: float) -> str:
    """Return a tick's number, without noise."""
    return f"{round(number, 10):,.10g}"


def _step(about: float) -> float:
    """Return the next step of 1, 2 or 5 that is no smaller."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(power * step for step in (*STEPS, 10) if power * step >= about * (1 - 1e-9))


def _logarithmic(low: float, high: float) -> Scale:
    """Return a scale from one of 1, 2, 5 by a power of ten to another one."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    marks = [step * 10.0**power for power in powers for step in STEPS]
    begin = max(mark for mark in marks if mark <= low * (1 + 1e-9))
    end = min(mark for mark in marks if mark >= high * (1 - 1e-9) and mark > begin)
    return Scale(begin, end, tuple(mark for mark in marks if begin <= mark <= end), log=True)
