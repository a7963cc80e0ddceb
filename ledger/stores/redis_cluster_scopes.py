"""The registry of scopes in a cluster: one for each part of the slots, so that a scope's lies where the scope does.

All of them are read, whoever has them by now: slots that move take their registry along, and it is found there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ledger.store import StoreUnavailable
from ledger.stores.redis_scopes import SCOPES_MAX, Scopes, Turn
from ledger.stores.redis_scripts import ScopeKeys
from ledger.stores.redis_slots import PART_TAGS, PARTS, SlotMap, slot_of
from ledger.stores.redis_wire import Line, pack

OF_A_PART = SCOPES_MAX // 4
"""Scopes that are asked of each registry at once: all that it has, where there are not very many."""


class ClusterScopes(Scopes):
    """Knows the scopes of a cluster. `ask` finds the node by the key, `slots` returns the map as it is now."""

    def __init__(self, ask: Callable[..., Awaitable[Any]], slots: Callable[[], SlotMap]) -> None:
        super().__init__(ask)
        self._slots = slots

    async def register(self, scope: str) -> ScopeKeys:
        """See `Scopes.register`."""
        await self._ask(int, b"SADD", self._registry(scope), scope)
        return self._entered(scope)

    async def carry_over(self, line: Line) -> None:
        """See `Scopes.carry_over`: of those that are kept at this node."""
        slots = self._slots()
        here = [scope for scope in self._registered if str(slots.primary_of(slot_of(scope))) == line.where]
        for registry, scopes in self._by_registry(here).items():
            if not isinstance(await line.send(pack((b"SADD", registry, *scopes))), int):
                self._registered.clear()
                return

    async def next_some(self, turn: Turn) -> list[str]:
        """See `Scopes.next_some`. Of a node that does not answer, none: the others' are not to wait for it; but where
        nobody answers, or a `turn` must be whole, raises StoreUnavailable."""
        begun = int(turn.cursor)
        first, cursor = begun % PARTS, begun // PARTS
        cursors = [cursor] + [0] * (PARTS - first - 1)
        asked = zip(PART_TAGS[first:], cursors, strict=True)
        asking = [self._ask(list, b"SSCAN", _registry(tag), at, b"COUNT", OF_A_PART) for tag, at in asked]
        scopes: dict[str, None] = {}
        failures: list[StoreUnavailable] = []
        for part, answer in enumerate(await asyncio.gather(*asking, return_exceptions=True), first):
            if isinstance(answer, StoreUnavailable) and not turn.whole:
                failures.append(answer)
                continue
            if isinstance(answer, BaseException):
                raise answer
            further, names = answer
            scopes |= {name.decode("utf-8", "surrogateescape"): None for name in names}
            if int(further) or (len(scopes) >= SCOPES_MAX and part + 1 < PARTS):
                turn.cursor = b"%d" % (int(further) * PARTS + part if int(further) else part + 1)
                return list(scopes)
        if len(failures) == len(asking):
            raise failures[0]
        turn.cursor = b"0"
        if begun == 0 and not failures:
            scopes |= dict.fromkeys(await self._enter_again(self._registered.keys() - scopes.keys()))
        return list(scopes)

    async def _enter_again(self, forgotten: Iterable[str]) -> Iterable[str]:
        entering = [self._ask(int, b"SADD", key, *some) for key, some in self._by_registry(forgotten).items()]
        await asyncio.gather(*entering)
        return forgotten

    def _by_registry(self, scopes: Iterable[str]) -> dict[bytes, list[str]]:
        sorted_out = defaultdict[bytes, list[str]](list)
        for scope in scopes:
            sorted_out[self._registry(scope)].append(scope)
        return sorted_out

    def _registry(self, scope: str) -> bytes:
        return _registry(self._slots().part_of(slot_of(scope)))


def _registry(tag: bytes) -> bytes:
    return b"holdfast:{%s}:scopes" % tag
