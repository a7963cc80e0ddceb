"""Listings of places, a page at a time: `unknown` and `in_flight` ones by their indexes, all others by looking through
every key.

The indexes are merged by moment over all scopes, or over some 1,000 at a time where there are more. An unknown place's
moment is when it became so; one in flight has that of its lease's end, so that what was not renewed for longest comes
first. First comes a page's order, then its records, each by a script of its own, so that claims get their turn.
"""

from __future__ import annotations

import asyncio
import base64
from heapq import merge
from typing import Any

import msgspec
from msgspec import Struct

from ledger.key import Ref
from ledger.store import Listed, Page, Phase
from ledger.stores.redis_scopes import Scopes, Turn
from ledger.stores.redis_scripts import INDEX, LISTED, keys_of
from ledger.stores.redis_sweep import TOGETHER, Run

PAGE_MAX = 500
"""Places of a page: so many records and their scripts are a few milliseconds of the server's time."""
SCANS_MAX = 10
"""Looks at some 1,000 keys each that one page takes at most; where next to nothing is in its phase, it ends empty."""
KEYS_MAX = 1_000

_RECORDS = b"holdfast:{*}:record:*"


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a listing of `phase` goes on: `at` is the server's cursor over scopes, or over keys; of these scopes, after
    `operation` of `scope`, whose moment is `moment`."""

    phase: Phase | None
    at: int = 0
    moment: str = "-inf"
    scope: str = ""
    operation: str = ""


class Listing:
    """Lists places. `run` runs a script, `ask` sends a command and returns its reply, of the type given first."""

    def __init__(self, scopes: Scopes, run: Run, ask: Run) -> None:
        self._scopes = scopes
        self._run = run
        self._ask = ask

    async def page(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """See `ledger.store.Store.scan`."""
        at = _opened(cursor, phase)
        limit = max(1, min(limit, PAGE_MAX))
        if phase in ("unknown", "in_flight"):
            return await self._by_index(at, limit)
        return await self._by_key(at, limit)

    async def _by_index(self, at: _Cursor, limit: int) -> Page:
        turn = Turn(whole=True)
        turn.cursor = b"%d" % at.at
        scopes = sorted(await self._scopes.next_some(turn))
        parts: list[list[tuple[float, str, bytes]]] = []
        for start in range(0, len(scopes), TOGETHER):
            some = scopes[start : start + TOGETHER]
            parts += await asyncio.gather(*(self._index_of(scope, at, limit) for scope in some))
        order = list(merge(*parts, key=lambda place: place[:2]))[:limit]
        places = await self._places([(scope, operation) for _, scope, operation in order], at.phase)
        if len(order) == limit:
            moment, scope, operation = order[-1]
            return Page(places, _closed(_Cursor(at.phase, at.at, f"{moment:.0f}", scope, operation.decode())))
        further = int(turn.cursor)
        return Page(places, _closed(_Cursor(at.phase, further)) if further else "")

    async def _index_of(self, scope: str, at: _Cursor, limit: int) -> list[tuple[float, str, bytes]]:
        keys = self._scopes.keys(scope)
        # Places of one moment are in the order of their scopes: those of earlier scopes have all been listed.
        first = f"({at.moment}" if scope < at.scope else at.moment
        after = at.operation if scope == at.scope else ""
        index = keys.unknown if at.phase == "unknown" else keys.due
        found = await self._run(INDEX, 1, index, first, after, limit)
        return [(float(moment), scope, operation) for operation, moment in zip(found[::2], found[1::2], strict=True)]

    async def _by_key(self, at: _Cursor, limit: int) -> Page:
        places: list[Listed] = []
        cursor = at.at
        for _ in range(SCANS_MAX):
            asked = (b"SCAN", cursor, b"MATCH", _RECORDS, b"COUNT", KEYS_MAX if at.phase else min(KEYS_MAX, 2 * limit))
            told, names = await self._ask(list, *asked)
            cursor = int(told)
            places += await self._places([_taken_apart(name) for name in names], at.phase)
            if cursor == 0:
                return Page(places, "")
            if len(places) >= limit:
                break
        return Page(places, _closed(_Cursor(at.phase, cursor)))

    async def _places(self, found: list[tuple[str, bytes]], phase: Phase | None) -> list[Listed]:
        """Return what stands at those of the places that are (still) in `phase`."""
        places: list[Listed] = []
        for start in range(0, len(found), TOGETHER):
            some = found[start : start + TOGETHER]
            shown = await asyncio.gather(*(self._shown(scope, operation) for scope, operation in some))
            for (scope, operation), place in zip(some, shown, strict=True):
                if place is not None and phase in (None, place[1].decode()):
                    _, _, version, record, kept, left = place
                    ref = Ref(scope, operation.decode())
                    lease_left_ms = None if left is None else int(left)
                    places.append(Listed(ref, version.decode(), record, kept == 1, lease_left_ms))
        return places

    async def _shown(self, scope: str, operation: bytes) -> list[Any] | None:
        keys = self._scopes.known(scope) or keys_of(scope)
        shown: list[Any] | None = await self._run(LISTED, 2, keys.record + operation, keys.reply + operation, operation)
        return shown


def _taken_apart(name: bytes) -> tuple[str, bytes]:
    """Return scope and operation of a record's key. (A scope has no braces: `ledger.key.scope_of`.)"""
    scope, _, operation = name.removeprefix(b"holdfast:{").partition(b"}:record:")
    return scope.decode("utf-8", "surrogateescape"), operation


def _closed(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def _opened(cursor: str, phase: Phase | None) -> _Cursor:
    """Return what `_closed` was given. Raises ValueError for anything else, and for a listing of another phase."""
    if not cursor:
        return _Cursor(phase)
    try:
        opened = msgspec.json.decode(base64.b64decode(cursor, altchars=b"-_", validate=True), type=_Cursor)
        whole = opened.moment == "-inf" or opened.moment.removeprefix("-").isdigit()
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError("this is no cursor of this store's") from error
    if opened.phase != phase or not whole or opened.at < 0:
        raise ValueError("this is no cursor of this listing's")
    return opened
