"""The memory store: the port's meaning in its plainest form, for unit tests and `--store memory://`. It keeps nothing.

It is a truthful twin of the stores that last: same answers, same clock rules, same wake-ups. Nothing in it awaits, so
each call is atomic by itself.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from msgspec import Struct
from msgspec.structs import replace

from ledger.key import Ref
from ledger.store import Listener, Present, StoreUnavailable, UnknownCount, Write, Written
from ledger.stores.clock import Clock, steady_clock
from ledger.stores.watches import Watches


class Place(Struct, frozen=True):
    """What stands somewhere, with its times turned from durations into moments of the store's clock (milliseconds)."""

    version: str
    record: bytes
    result: bytes | None
    result_until_ms: int | None
    due_ms: int | None
    unknown_since_ms: int | None
    forget_ms: int | None


class MemoryStore:
    """Keeps places in a dict. `clock` returns the store's now in milliseconds; tests pass one that they can move."""

    name = "memory"

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or steady_clock()
        self._places: dict[Ref, Place] = {}
        self._watches = Watches()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open for use. There is never anything to adopt."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Forget everything; calls fail with `StoreUnavailable` from here on."""
        self._loop = None
        self._places.clear()

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | None:
        """See `ledger.store.Store.swap`."""
        loop = self._opened()
        now = self._clock()
        place = self._standing(ref, now)
        standing = place.version if place else None
        if standing == write.version:
            return Written()
        if standing != expected:
            return _present(place, now) if place else None
        self._places[ref] = _placed(write, place, now)
        self._watches.tell(loop, (ref.operation,))
        return Written()

    async def read(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.read`."""
        self._opened()
        now = self._clock()
        place = self._standing(ref, now)
        return _present(place, now) if place else None

    async def watch(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.watch`."""
        self._opened()
        self._watches.add(ref.operation)
        return await self.read(ref)

    def listen(self, listener: Listener) -> None:
        """See `ledger.store.Store.listen`."""
        self._watches.listen(listener)

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """See `ledger.store.Store.renew`."""
        self._opened()
        now = self._clock()
        place = self._standing(ref, now)
        if place is None or place.version != version:
            return False
        self._places[ref] = replace(place, due_ms=now + lease_ms)
        return True

    async def due(self, limit: int) -> list[Ref]:
        """See `ledger.store.Store.due`. Sweeps call this now and then, so what is to be forgotten goes here."""
        self._opened()
        now = self._clock()
        self._forget(now)
        lapsed = [(p.due_ms, ref) for ref, p in self._places.items() if p.due_ms is not None and p.due_ms <= now]
        lapsed.sort(key=lambda pair: pair[0])
        return [ref for _, ref in lapsed[:limit]]

    async def unknowns(self) -> list[UnknownCount]:
        """See `ledger.store.Store.unknowns`."""
        self._opened()
        now = self._clock()
        self._forget(now)
        since: defaultdict[str, list[int]] = defaultdict(list)
        for ref, place in self._places.items():
            if place.unknown_since_ms is not None:
                since[ref.scope].append(place.unknown_since_ms)
        return [UnknownCount(scope, len(times), now - min(times)) for scope, times in sorted(since.items())]

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise StoreUnavailable("the memory store is closed")
        return self._loop

    def _standing(self, ref: Ref, now: int) -> Place | None:
        place = self._places.get(ref)
        if place is not None and place.forget_ms is not None and place.forget_ms <= now:
            del self._places[ref]
            return None
        return place

    def _forget(self, now: int) -> None:
        for ref in list(self._places):
            self._standing(ref, now)


def _placed(write: Write, before: Place | None, now: int) -> Place:
    """Return `write` as it stands from `now` on. Unknown since when survives a rewrite of what is still unknown."""
    since = before.unknown_since_ms if before else None
    if write.phase != "unknown":
        since = None
    elif since is None:
        since = now
    return Place(
        version=write.version,
        record=write.record,
        result=write.result,
        result_until_ms=None if write.result_ms is None else now + write.result_ms,
        due_ms=None if write.lease_ms is None else now + write.lease_ms,
        unknown_since_ms=since,
        forget_ms=None if write.forget_ms is None else now + write.forget_ms,
    )


def _present(place: Place, now: int) -> Present:
    kept = place.result_until_ms is None or place.result_until_ms > now
    left = None if place.due_ms is None else place.due_ms - now
    return Present(place.version, place.record, place.result if kept else None, left)
