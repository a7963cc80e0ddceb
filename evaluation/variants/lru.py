"""What one process remembers: the newest entries, each for a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Keeps `size` entries at most, the most recently used, each for `ttl_s` from when it was put. `now` is in
    seconds."""

    def __init__(self, size: int, ttl_s: float, now: Callable[[], float]) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._now = now
        self._kept: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return what is kept under a key."""
        kept = self._kept.get(key)
        if kept is None or kept[1] <= self._now():
            self._kept.pop(key, None)
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: K, value: V) -> None:
        """Keep a value, and let go of the one that was not used for longest, if there are too many."""
        self._kept[key] = value, self._now() + self._ttl_s
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def forget(self, key: K) -> None:
        """Keep it no longer."""
        self._kept.pop(key, None)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return len(self._kept)
