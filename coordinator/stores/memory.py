"""The memory store: the port's meaning in its plainest form, for unit tests and `--store memory://`. It keeps nothing.

It is a truthful twin of the stores that last: same answers, same clock rules, same nudges. Nothing in it awaits, so
each call is atomic by itself.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from coordinator.store import Astray, Delivery, Letter, Listener, Page, Put, Standing, Written
from coordinator.stores import cursors
from coordinator.stores.holds import EVERYBODY, Hold, Told, after, checked, hurried
from coordinator.stores.listeners import Listeners
from coordinator.stores.memory_queue import Queue
from ledger.store import StoreUnavailable
from ledger.stores.clock import Clock, steady_clock


class Place(Struct, frozen=True):
    """What stands somewhere. `number` is that of its last write; `forget_ms` a moment of the store's clock."""

    number: int
    version: str
    record: bytes
    label: str
    forget_ms: int | None
    hold: Hold


class MemoryRunStore:
    """Keeps places in a dict. `clock` returns the store's now in milliseconds; tests pass one that they can move."""

    name = "memory"

    def __init__(self, clock: Clock | None = None) -> None:
        self.operations = 0
        self._clock = clock or steady_clock()
        self._places: dict[str, Place] = {}
        self._heard: dict[str, int] = {}
        """Until when each notification is remembered."""
        self._queue = Queue()
        self._numbers = itertools.count(1)
        self._listeners = Listeners()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open for use. There is never anything to adopt."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Forget everything; calls fail with `StoreUnavailable` from here on."""
        self._loop = None
        self._places.clear()
        self._heard.clear()
        self._queue.clear()

    async def swap(self, *puts: Put) -> Written | Astray:
        """See `coordinator.store.RunStore.swap`."""
        checked(puts)
        now = self._now()
        standing = {put.key: self._standing(put.key, now) for put in puts}
        if any((place := standing[put.key]) is not None and place.version == put.version for put in puts):
            return Written()  # sent before
        for put in puts:
            place = standing[put.key]
            if (place.version if place else None) != put.expected:
                return Astray(put.key, _seen(put.key, place, now) if place else None)
        for put in puts:
            place = standing[put.key]
            hold, told = after(put, place.hold if place else Hold(), now)
            forget_ms = None if put.forget_ms is None else now + put.forget_ms
            number = next(self._numbers)
            self._places[put.key] = Place(number, put.version, put.record, put.label, forget_ms, hold)
            self._tell(told)
        return Written()

    async def read(self, key: str) -> Standing | None:
        """See `coordinator.store.RunStore.read`."""
        now = self._now()
        place = self._standing(key, now)
        return _seen(key, place, now) if place else None

    async def take(self, owner: str, limit: int, visibility_ms: int) -> list[Standing]:
        """See `coordinator.store.RunStore.take`."""
        now = self._now()
        self._forget(now)
        due = [(place.hold.due_ms, key) for key, place in self._places.items() if place.hold.due_ms is not None]
        taken = [key for due_ms, key in sorted(due) if due_ms <= now][:limit]
        for key in taken:
            self._places[key] = replace(self._places[key], hold=Hold(owner, now + visibility_ms))
        return [_seen(key, self._places[key], now) for key in taken]

    async def renew(self, owner: str, keys: Sequence[str], visibility_ms: int) -> set[str]:
        """See `coordinator.store.RunStore.renew`."""
        now = self._now()
        owned = set()
        for key in keys:
            place = self._standing(key, now)
            if place is not None and place.hold.owner == owner:
                self._places[key] = replace(place, hold=replace(place.hold, due_ms=now + visibility_ms))
                owned.add(key)
        return owned

    async def hurry(self, key: str) -> bool:
        """See `coordinator.store.RunStore.hurry`."""
        return self._hurry(key, self._now())

    def listen(self, owner: str, nudged: Listener) -> None:
        """See `coordinator.store.RunStore.listen`."""
        self._listeners.add(owner, nudged)

    async def scan(self, label: str, cursor: str, limit: int) -> Page:
        """See `coordinator.store.RunStore.scan`."""
        behind = cursors.read(label, cursor)
        now = self._now()
        self._forget(now)
        listed = [(p.number, key) for key, p in self._places.items() if p.label and label in {"", p.label}]
        rest = sorted((pair for pair in listed if behind is None or pair[0] < behind), reverse=True)
        page = rest[:limit]
        places = [_seen(key, self._places[key], now) for _, key in page]
        return Page(places, cursors.written(label, page[-1][0]) if len(rest) > len(page) else "")

    async def counts(self) -> dict[str, int]:
        """See `coordinator.store.RunStore.counts`."""
        self._forget(self._now())
        return dict(Counter(place.label for place in self._places.values() if place.label))

    async def hear(self, webhook: str, keep_ms: int, key: str) -> bool:
        """See `coordinator.store.RunStore.hear`."""
        now = self._now()
        self._forget(now)
        if webhook in self._heard:
            return False
        self._heard[webhook] = now + keep_ms
        self._hurry(key, now)
        return True

    async def post(self, entry_id: str, entry: bytes, depth_max: int) -> bool:
        """See `coordinator.store.RunStore.post`."""
        self._now()
        posted = self._queue.post(entry_id, entry, depth_max)
        self._tell(EVERYBODY if posted else None)
        return posted

    async def deliveries(self, consumer: str, limit: int, idle_ms: int) -> list[Delivery]:
        """See `coordinator.store.RunStore.deliveries`."""
        return self._queue.deliveries(limit, idle_ms, self._now())

    async def done(self, ids: Sequence[str]) -> None:
        """See `coordinator.store.RunStore.done`."""
        self._now()
        for entry_id in ids:
            self._queue.done(entry_id)

    async def depth(self) -> int:
        """See `coordinator.store.RunStore.depth`."""
        self._now()
        return len(self._queue)

    async def bury(self, delivery_id: str, reason: str, detail: str) -> None:
        """See `coordinator.store.RunStore.bury`."""
        self._queue.bury(delivery_id, reason, detail, self._now())

    async def letters(self, cursor: str, limit: int) -> tuple[list[Letter], str]:
        """See `coordinator.store.RunStore.letters`."""
        self._now()
        return self._queue.letters(cursor, limit)

    async def requeue(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.requeue`."""
        self._now()
        found = self._queue.requeue(letter_id)
        self._tell(EVERYBODY if found else None)
        return found

    async def drop(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.drop`."""
        self._now()
        return self._queue.drop(letter_id)

    def _now(self) -> int:
        """Count an operation, and return the time. Raises `StoreUnavailable` for a store that is not open."""
        if self._loop is None:
            raise StoreUnavailable("the memory store is closed")
        self.operations += 1
        return self._clock()

    def _tell(self, told: Told | None) -> None:
        if told is not None and self._loop is not None:
            self._listeners.tell(self._loop, (told,))

    def _standing(self, key: str, now: int) -> Place | None:
        place = self._places.get(key)
        if place is not None and place.forget_ms is not None and place.forget_ms <= now:
            del self._places[key]
            return None
        return place

    def _hurry(self, key: str, now: int) -> bool:
        place = self._standing(key, now)
        if place is None:
            return False
        hold, told = hurried(key, place.hold, now)
        self._places[key] = replace(place, hold=hold)
        self._tell(told)
        return True

    def _forget(self, now: int) -> None:
        for key in list(self._places):
            self._standing(key, now)
        for webhook in [webhook for webhook, until_ms in self._heard.items() if until_ms <= now]:
            del self._heard[webhook]


def _seen(key: str, place: Place, now: int) -> Standing:
    return Standing(key, place.version, place.record, place.hold.live(now))
