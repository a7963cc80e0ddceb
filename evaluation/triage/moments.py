"""Times as logs write them, and the dates of those that have none."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from msgspec import Struct

DAY_MS = 86_400_000
YEAR_3000_MS = 32_503_680_000_000
"""Numbers beyond are no times. Seconds and milliseconds are told apart by size: 1e11 seconds are in the year 5138."""

TIME_OF_DAY = re.compile(r"(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?Z?")


class Moment(Struct, frozen=True):
    """A time as written: Unix milliseconds, or milliseconds of an unknown day where it is not `dated`."""

    ms: int
    dated: bool = True
    zoned: bool = True


def moment(written: object) -> Moment | None:
    """Return the time that a string or a number means, None for anything else. Without a zone it is taken for UTC."""
    match written:
        case bool():
            return None
        case int() | float():
            return _from_number(float(written)) if abs(written) < YEAR_3000_MS else None
        case str():
            return _from_text(written)
        case _:
            return None


def _from_number(number: float) -> Moment | None:
    if not math.isfinite(number) or number <= 0:
        return None
    return Moment(round(number) if number >= 1e11 else round(number * 1000))


def _from_text(written: str) -> Moment | None:
    if (clock := TIME_OF_DAY.fullmatch(written)) is not None:
        hours, minutes, seconds = (int(part) for part in clock.groups()[:3])
        if hours > 23 or minutes > 59 or seconds > 60:
            return None
        thousandths = int((clock[4] or "0").ljust(3, "0")[:3])
        return Moment(((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths, dated=False, zoned=False)
    if len(written) < 19:
        return None
    try:
        read = datetime.fromisoformat(written.replace(",", "."))
        zoned = read.tzinfo is not None
        since = (read if zoned else read.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return Moment(since.days * DAY_MS + since.seconds * 1000 + since.microseconds // 1000, zoned=zoned)


def nearest(ms: int, reference: int) -> int:
    """Return `ms` moved by whole days to where it is nearest to `reference`."""
    return ms + round((reference - ms) / DAY_MS) * DAY_MS


class Calendar:
    """The days of one file's lines: a time of day belongs to the day that brings it nearest to the line before.

    Until a line has a date the days are counted from none (`provisional`); `shift_ms` then says by how much what was
    placed so far has to move.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self.provisional = True
        self.placed_without_date = 0
        self.zoneless = 0
        self.shift_ms: int | None = None

    def place(self, written: Moment) -> int:
        """Return the Unix milliseconds of the next line."""
        if not written.dated:
            self.placed_without_date += 1
            self._last = written.ms if self._last is None else nearest(written.ms, self._last)
            return self._last
        self.zoneless += not written.zoned
        if self.provisional:
            self.provisional = False
            if self._last is not None:
                self.shift_ms = nearest(self._last, written.ms) - self._last
        self._last = written.ms
        return written.ms
