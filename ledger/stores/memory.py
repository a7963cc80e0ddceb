"""The memory store: the port's meaning in its plainest form, for unit tests and `--store memory://`. It keeps nothing.

It is a truthful twin of the stores that last: same answers, same clock rules, same wake-ups. Nothing in it awaits, so
each call is atomic by itself.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict

from msgspec import Struct
from msgspec.structs import replace

from ledger.key import Ref
from ledger.store import (
    Beat,
    EffectWrite,
    Held,
    Listed,
    Listener,
    Page,
    Phase,
    Present,
    StoreUnavailable,
    UnknownCount,
    Write,
    Written,
)
from ledger.stores import cursors
from ledger.stores.clock import Clock, steady_clock
from ledger.stores.watches import Watches


class Place(Struct, frozen=True):
    """What stands somewhere, with its times turned from durations into moments of the store's clock (milliseconds).
    `number` grows with each place that is begun."""

    number: int
    version: str
    record: bytes
    phase: Phase
    result: bytes | None
    result_until_ms: int | None
    due_ms: int | None
    unknown_since_ms: int | None
    forget_ms: int | None


class EffectHolder(Struct, frozen=True):
    """Which operation holds an effect key, and until when (None: without end)."""

    operation: str
    until_ms: int | None


class MemoryStore:
    """Keeps places in a dict. `clock` returns the store's now in milliseconds; tests pass one that they can move."""

    name = "memory"

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or steady_clock()
        self._places: dict[Ref, Place] = {}
        self._effects: dict[tuple[str, str], EffectHolder] = {}
        """By scope and effect key."""
        self._beats: dict[str, int] = {}
        self._refuse_until_ms = 0
        self._numbers = itertools.count()
        self._watches = Watches()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Open for use. There is never anything to adopt."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Forget everything; calls fail with `StoreUnavailable` from here on."""
        self._loop = None
        self.wipe()

    def wipe(self) -> None:
        """Lose all memory, as a server does that is flushed."""
        self._places.clear()
        self._effects.clear()
        self._beats.clear()
        self._refuse_until_ms = 0

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | Held | None:
        """See `ledger.store.Store.swap`."""
        loop = self._opened()
        now = self._clock()
        place = self._standing(ref, now)
        standing = place.version if place else None
        if standing == write.version:
            return Written()
        if standing != expected:
            return _present(place, now) if place else None
        if write.effect is not None:
            holder = self._holder(ref.scope, write.effect.key, now)
            if write.effect.hold == "claim" and holder not in {None, ref.operation, write.effect.over}:
                assert holder is not None
                held = self._standing(Ref(ref.scope, holder), now)
                return Held(holder, _present(held, now) if held else None)
            if holder in {None, ref.operation} or write.effect.hold == "claim":
                self._hold(ref, write.effect, now)
        number = place.number if place else next(self._numbers)
        self._places[ref] = _placed(write, place, number, now)
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

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """See `ledger.store.Store.scan`."""
        self._opened()
        now = self._clock()
        self._forget(now)
        behind = cursors.read(phase, cursor)
        listing = [(_mark(place, phase), ref) for ref, place in self._places.items() if phase in {None, place.phase}]
        rest = sorted((pair for pair in listing if pair[0] > behind), key=lambda pair: pair[0])
        page = rest[:limit]
        places = [_listed(ref, self._places[ref], now) for _, ref in page]
        return Page(places, cursors.written(phase, page[-1][0]) if len(rest) > len(page) > 0 else "")

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """See `ledger.store.Store.beat`."""
        self._opened()
        now = self._clock()
        remembered = self._beats.get(process, 0)
        if remembered < acknowledged:
            self._refuse_until_ms = max(self._refuse_until_ms, now + refuse_ms)
        self._beats[process] = remembered + 1
        return Beat(remembered + 1, max(0, self._refuse_until_ms - now))

    async def accept(self) -> None:
        """See `ledger.store.Store.accept`."""
        self._opened()
        self._refuse_until_ms = 0

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

    def _holder(self, scope: str, key: str, now: int) -> str | None:
        holder = self._effects.get((scope, key))
        if holder is not None and holder.until_ms is not None and holder.until_ms <= now:
            del self._effects[scope, key]
            return None
        return holder.operation if holder else None

    def _hold(self, ref: Ref, effect: EffectWrite, now: int) -> None:
        until_ms = now + effect.window_ms if effect.hold == "window" else None
        if effect.hold == "drop":
            self._effects.pop((ref.scope, effect.key), None)
        else:
            self._effects[ref.scope, effect.key] = EffectHolder(ref.operation, until_ms)

    def _forget(self, now: int) -> None:
        for ref in list(self._places):
            self._standing(ref, now)
        for scope, key in list(self._effects):
            self._holder(scope, key, now)


def _placed(write: Write, before: Place | None, number: int, now: int) -> Place:
    """Return `write` as it stands from `now` on. Unknown since when survives a rewrite of what is still unknown."""
    since = before.unknown_since_ms if before else None
    if write.phase != "unknown":
        since = None
    elif since is None:
        since = now
    return Place(
        number=number,
        version=write.version,
        record=write.record,
        phase=write.phase,
        result=write.result,
        result_until_ms=None if write.result_ms is None else now + write.result_ms,
        due_ms=None if write.lease_ms is None else now + write.lease_ms,
        unknown_since_ms=since,
        forget_ms=None if write.forget_ms is None else now + write.forget_ms,
    )


def _result(place: Place, now: int) -> bytes | None:
    kept = place.result_until_ms is None or place.result_until_ms > now
    return place.result if kept else None


def _lease_left_ms(place: Place, now: int) -> int | None:
    return None if place.due_ms is None else place.due_ms - now


def _present(place: Place, now: int) -> Present:
    return Present(place.version, place.record, _result(place, now), _lease_left_ms(place, now))


def _listed(ref: Ref, place: Place, now: int) -> Listed:
    return Listed(ref, place.version, place.record, _result(place, now) is not None, _lease_left_ms(place, now))


def _mark(place: Place, phase: Phase | None) -> cursors.Mark:
    """Return where a place comes in the listing of `phase`."""
    match phase:
        case "unknown":
            return place.unknown_since_ms or 0, place.number
        case "in_flight":
            return place.due_ms or 0, place.number
        case _:
            return 0, place.number
