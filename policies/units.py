"""Durations, sizes and status lists as people write them, and back.

A number without its unit is an error, never a guess: `hold: 30` would mean thirty seconds to one reader and thirty
milliseconds to the next. Every function raises `ValueError` with a message for the person who wrote the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from policies.model import DAY_MS, HOUR_MS, KIB, MIB, MINUTE_MS, SECOND_MS

DURATION_UNITS: Final = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
SIZE_UNITS: Final = {
    "B": 1,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": 1024 * MIB,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
}
DIGITS_MAX: Final = 12
"""Longer numbers are typing errors; the bound also keeps every product well inside what stores take (2^63)."""

SHOWN_MAX: Final = 60
"""How much of a wrong text is repeated in a message."""

DURATION_PATTERN: Final = rf"^[0-9]{{1,{DIGITS_MAX}}}(ms|s|m|h|d)$"
SIZE_PATTERN: Final = rf"^[0-9]{{1,{DIGITS_MAX}}}(B|KiB|MiB|GiB|kB|KB|MB|GB)$"
STATUS_PATTERN: Final = r"^([2-5]xx|[2-5][0-9]{2})$"

STATUSES: Final = range(200, 600)
"""What can settle a call: a 1xx is no outcome (RFC 9110, 15.2)."""

NEVER_IN_A_CLASS: Final = frozenset({408})
"""408 says that the tool gave up reading, which a `4xx` must not turn into a final answer: it counts only by name."""

_DURATION = re.compile(DURATION_PATTERN)
_SIZE = re.compile(SIZE_PATTERN)
_STATUS = re.compile(STATUS_PATTERN)


def duration_ms(text: str) -> int:
    """Return the milliseconds of `200ms`, `2s`, `10m`, `24h` or `7d`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        if text.isdigit():
            raise ValueError(f"{text[:SHOWN_MAX]!r} has no unit")
        raise ValueError(f"{text[:SHOWN_MAX]!r} is not a duration")
    unit = found[1]
    return int(text[: -len(unit)]) * DURATION_UNITS[unit]


def size_bytes(text: str) -> int:
    """Return the bytes of `512KiB`, `1MiB` (powers of 1024) or `1MB` (powers of 1000)."""
    found = _SIZE.fullmatch(text)
    if found is None:
        if text.isdigit():
            raise ValueError(f"{text[:SHOWN_MAX]!r} has no unit")
        raise ValueError(f"{text[:SHOWN_MAX]!r} is not a size")
    unit = found[1]
    return int(text[: -len(unit)]) * SIZE_UNITS[unit]


def statuses(text: str) -> frozenset[int]:
    """Return the statuses of `404` or of a class such as `4xx`, which leaves 408 out."""
    if _STATUS.fullmatch(text) is None:
        raise ValueError(f"{text[:SHOWN_MAX]!r} is neither a status from 200 to 599 nor a class from 2xx to 5xx")
    if text.endswith("xx"):
        first = int(text[0]) * 100
        return frozenset(range(first, first + 100)) - NEVER_IN_A_CLASS
    return frozenset({int(text)})


def show_duration(ms: int) -> str:
    """Write milliseconds in the largest unit that needs no fraction: 90,000 is `90s`, 86,400,000 is `24h`."""
    if ms and ms % DAY_MS == 0 and ms >= 2 * DAY_MS:
        return f"{ms // DAY_MS}d"
    if ms and ms % HOUR_MS == 0:
        return f"{ms // HOUR_MS}h"
    if ms % MINUTE_MS == 0 and ms >= 2 * MINUTE_MS:
        return f"{ms // MINUTE_MS}m"
    return f"{ms // SECOND_MS}s" if ms % SECOND_MS == 0 else f"{ms}ms"


def show_size(size: int) -> str:
    """Write bytes in the largest binary unit that needs no fraction, else in bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def show_statuses(found: Iterable[int]) -> list[str]:
    """Write a set of statuses as the shortest list that `statuses` reads back to the same set, classes first."""
    left = set(found)
    shown: list[str] = []
    for first in "2345":
        members = statuses(f"{first}xx")
        if members <= left:
            shown.append(f"{first}xx")
            left -= members
    return shown + [str(status) for status in sorted(left)]
