"""What spans all scopes: leases that have lapsed, and how much is unknown.

One script a scope, because each scope has a hash slot of its own, and some scopes at a time, so that claims get their
turn in between. Where there are very many scopes, each call looks at the next some of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ledger.key import Ref
from ledger.store import StoreUnavailable, UnknownCount
from ledger.stores.redis_scopes import Scopes, Turn
from ledger.stores.redis_scripts import DUE, UNKNOWNS, Script
from ledger.stores.redis_wire import Reply

TOGETHER = 64
"""Scopes asked at once: some milliseconds of the server's time."""
UNKNOWN_CHECKED_MAX = 100
"""Of a scope's unknown operations, how many of the oldest are checked against their records at each count."""

Run = Callable[..., Awaitable[Reply]]
"""Runs a script with its number of keys, keys and arguments, and returns its reply; raises StoreUnavailable."""


class Sweep:
    """Looks over all scopes. `run` runs a script."""

    def __init__(self, scopes: Scopes, run: Run) -> None:
        self._scopes = scopes
        self._run = run
        self._due_turn = Turn()
        self._unknowns_turn = Turn()
        self._unknowns: dict[str, tuple[int, float]] = {}

    async def due(self, limit: int) -> list[Ref]:
        """Return up to `limit` lapsed places, the longest lapsed first.

        One scope's broken index does not keep the others from being swept: its error is raised where nothing is found.
        """
        scopes = await self._scopes.next_some(self._due_turn)
        answers, failure = await self._of_each(scopes, DUE, limit)
        ripe: list[tuple[float, Ref]] = []
        for scope, found in answers.items():
            for operation, due in zip(found[::2], found[1::2], strict=True):
                ripe.append((float(due), Ref(scope, operation.decode())))
        if failure is not None and not ripe:
            raise failure
        ripe.sort(key=lambda pair: pair[0])
        return [ref for _, ref in ripe[:limit]]

    async def unknowns(self) -> list[UnknownCount]:
        """Count the unknown places by scope; of scopes whose turn it was not, as they were counted last."""
        scopes = await self._scopes.next_some(self._unknowns_turn)
        answers, failure = await self._of_each(scopes, UNKNOWNS, UNKNOWN_CHECKED_MAX)
        if failure is not None:
            raise failure
        now_ms = asyncio.get_running_loop().time() * 1000
        for scope, (count, oldest_age_ms) in answers.items():
            self._unknowns.pop(scope, None)
            if count:
                self._unknowns[scope] = (count, now_ms - oldest_age_ms)
        return [UnknownCount(scope, count, round(now_ms - since)) for scope, (count, since) in self._unknowns.items()]

    async def _of_each(
        self, scopes: list[str], script: Script, limit: int
    ) -> tuple[dict[str, Reply], StoreUnavailable | None]:
        """Run `script` on its index of each of `scopes`; return the answers, and a failure if there was one."""
        answers: dict[str, Reply] = {}
        failure: StoreUnavailable | None = None
        for start in range(0, len(scopes), TOGETHER):
            some = scopes[start : start + TOGETHER]
            keys = [self._scopes.keys(scope) for scope in some]
            indexes = [of.due if script is DUE else of.unknown for of in keys]
            calls = [self._run(script, 1, index, of.record, limit) for index, of in zip(indexes, keys, strict=True)]
            for scope, answer in zip(some, await asyncio.gather(*calls, return_exceptions=True), strict=True):
                match answer:
                    case StoreUnavailable():
                        failure = answer
                    case BaseException():
                        raise answer
                    case _:
                        answers[scope] = answer
        return answers, failure
