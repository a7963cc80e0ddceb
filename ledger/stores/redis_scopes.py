"""The registry of scopes: where a sweep has to look. A scope is entered before its first claim, and stays.

Taking one out could race with another process that believes it registered; a set of names is cheap to keep.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from ledger.stores.redis_scripts import SCOPES, ScopeKeys, keys_of
from ledger.stores.redis_wire import Line, pack

CACHED_MAX = 10_000
"""Scopes whose keys and registration this process remembers, some 5 MiB; the oldest makes room."""
SCOPES_MAX = 1_000
"""Scopes that one sweep looks at, a few milliseconds of the server's time; where there are more, it takes turns."""


class Turn:
    """How far somebody who looks at all scopes has come; each such purpose has its own. Where some scopes cannot be
    had, one that is `whole` fails rather than go on with the others."""

    def __init__(self, *, whole: bool = False) -> None:
        self.cursor = b"0"
        self.whole = whole


class Scopes:
    """Knows scopes and their keys. `ask` sends a command and returns its reply, of the type given first."""

    def __init__(self, ask: Callable[..., Awaitable[Any]]) -> None:
        self._ask = ask
        self._registered: OrderedDict[str, ScopeKeys] = OrderedDict()

    def keys(self, scope: str) -> ScopeKeys:
        """Return the keys of `scope`."""
        return self._registered.get(scope) or keys_of(scope)

    def known(self, scope: str) -> ScopeKeys | None:
        """Return the keys of `scope` if it is registered as far as we know."""
        return self._registered.get(scope)

    async def register(self, scope: str) -> ScopeKeys:
        """Enter `scope`, so that its lapsed leases are found, and return its keys."""
        await self._ask(int, b"SADD", SCOPES, scope)
        return self._entered(scope)

    def _entered(self, scope: str) -> ScopeKeys:
        keys = keys_of(scope)
        self._registered[scope] = keys
        if len(self._registered) > CACHED_MAX:
            self._registered.popitem(last=False)
        return keys

    async def carry_over(self, line: Line) -> None:
        """Enter what this process has entered on a new connection, too: it may lead to another server."""
        if self._registered and not isinstance(await line.send(pack((b"SADD", SCOPES, *self._registered))), int):
            self._registered.clear()  # out of memory, say: each scope's next claim tries again, and is refused

    def forget(self) -> None:
        """Have each scope entered anew with its next claim."""
        self._registered.clear()

    async def next_some(self, turn: Turn) -> list[str]:
        """Return the scopes to look at this time: all of them, or the next some where there are very many.

        What this process has entered and the server has forgotten (a flush) is entered again.
        """
        first = turn.cursor == b"0"
        turn.cursor, names = await self._ask(list, b"SSCAN", SCOPES, turn.cursor, b"COUNT", SCOPES_MAX)
        scopes = {name.decode(): None for name in names}  # a set that grows may hand out a name twice
        if first and turn.cursor == b"0":
            forgotten = self._registered.keys() - scopes.keys()
            if forgotten:
                await self._ask(int, b"SADD", SCOPES, *forgotten)
                scopes |= dict.fromkeys(forgotten)
        return list(scopes)
