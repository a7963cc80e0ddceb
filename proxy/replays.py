"""Completed records kept near: replays that need no store round trip.

A completed record never changes its result, and a ruling only ever ends what is unknown, so a copy stays right until
its retention is over. When the store has lost memory it is given up: an older state may have come back, and what is
found out or ruled about that is the truth that everybody tells from then on.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from ledger.records import Completed
from ledger.result import SECTIONS_MAX, Headers, Result

BYTES_MAX = 8 * 1024 * 1024
"""Of stored bodies and headers; a sidecar has little memory to spare, and retries come soon or not at all."""

ENTRIES_MAX = 10_000
ENTRY_BYTES = 1_024
"""What a record and its bookkeeping weigh, roughly, beside the body."""


class Kept(Struct, frozen=True, gc=False):
    """A completed record with its result, until `expires` (seconds, by the clock given); `weight` in bytes."""

    record: Completed
    result: Result
    expires: float
    weight: int


class Replays:
    """A least-recently-used cache, bounded in bytes and entries."""

    def __init__(self, clock: Callable[[], float], bytes_max: int = BYTES_MAX) -> None:
        self._clock = clock
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def get(self, operation: str) -> Kept | None:
        """Return what is kept of `operation`, unless its retention is over."""
        kept = self._kept.get(operation)
        if kept is None:
            return None
        if self._clock() >= kept.expires:
            self._drop(operation)
            return None
        self._kept.move_to_end(operation)
        return kept

    def put(self, record: Completed, result: Result, retention_ms: int) -> None:
        """Keep a result for at most `retention_ms` from now; too large a one is not kept."""
        weight = _weight(result)
        if weight > self._bytes_max // 4:
            return
        self._drop(record.operation)
        self._kept[record.operation] = Kept(record, result, self._clock() + retention_ms / 1_000, weight)
        self._bytes += weight
        while self._bytes > self._bytes_max or len(self._kept) > ENTRIES_MAX:
            self._bytes -= self._kept.popitem(last=False)[1].weight

    def clear(self) -> None:
        """Forget everything: the store has lost memory, and whatever it is taken back to shall be told by all alike."""
        self._kept.clear()
        self._bytes = 0

    def _drop(self, operation: str) -> None:
        kept = self._kept.pop(operation, None)
        if kept is not None:
            self._bytes -= kept.weight


def _weight(result: Result) -> int:
    return ENTRY_BYTES + len(result.body) + _size(result.headers)


@functools.lru_cache(SECTIONS_MAX)
def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) for name, value in headers)
