"""The memory store's queue of results and its dead letters."""

from __future__ import annotations

import itertools

from msgspec import Struct
from msgspec.structs import replace

from coordinator.store import Delivery, Letter
from coordinator.stores import cursors


class Entry(Struct, frozen=True):
    """A result in the queue: when it was delivered last, if it was, and how often."""

    entry: bytes
    delivered_ms: int | None = None
    times: int = 0


class Queue:
    """Every time is an argument, in the store's milliseconds."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        """In the order in which they were posted."""
        self._letters: dict[str, tuple[int, Letter]] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Lose everything."""
        self._entries.clear()
        self._letters.clear()

    def post(self, entry_id: str, entry: bytes, depth_max: int) -> bool:
        """See `coordinator.store.RunStore.post`."""
        if entry_id in self._entries:
            return True
        if len(self._entries) >= depth_max:
            return False
        self._entries[entry_id] = Entry(entry)
        return True

    def deliveries(self, limit: int, idle_ms: int, now: int) -> list[Delivery]:
        """See `coordinator.store.RunStore.deliveries`."""
        waiting = self._entries.items()
        again = [key for key, e in waiting if e.delivered_ms is not None and e.delivered_ms <= now - idle_ms]
        new = [key for key, e in waiting if e.delivered_ms is None]
        return [self._delivered(entry_id, now) for entry_id in (again + new)[:limit]]

    def _delivered(self, entry_id: str, now: int) -> Delivery:
        entry = self._entries[entry_id]
        self._entries[entry_id] = delivered = replace(entry, delivered_ms=now, times=entry.times + 1)
        return Delivery(entry_id, delivered.entry, delivered.times)

    def done(self, entry_id: str) -> None:
        """See `coordinator.store.RunStore.done`."""
        self._entries.pop(entry_id, None)

    def bury(self, entry_id: str, reason: str, detail: str, now: int) -> None:
        """See `coordinator.store.RunStore.bury`."""
        entry = self._entries.pop(entry_id, None)
        if entry is not None:
            self._letters.pop(entry_id, None)
            self._letters[entry_id] = next(self._numbers), Letter(entry_id, entry.entry, reason, detail, now)

    def letters(self, cursor: str, limit: int) -> tuple[list[Letter], str]:
        """See `coordinator.store.RunStore.letters`."""
        behind = cursors.read(cursors.LETTERS, cursor) or 0
        rest = [numbered for numbered in self._letters.values() if numbered[0] > behind]
        page = rest[:limit]
        more = cursors.written(cursors.LETTERS, page[-1][0]) if len(rest) > len(page) else ""
        return [letter for _, letter in page], more

    def requeue(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.requeue`."""
        _, letter = self._letters.pop(letter_id, (0, None))
        if letter is not None:
            self._entries.setdefault(letter_id, Entry(letter.entry))
        return letter is not None

    def drop(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.drop`."""
        return self._letters.pop(letter_id, None) is not None
