"""What a store and a network may do to one replica: be away for a while, lose answers, or hang until they come back."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from ledger.store import StoreUnavailable

DEADLINE_S = 0.5
"""After this long a store that is away says so."""

SLOW_S = 1.0


class Weather:
    """How a replica's store calls fare: `away` (nothing happens, and after a while that is said), `refused` (that is
    said at once), `cut` (it happens, and the answer is lost), `hung` (nothing happens before it is `fine` again, and
    then it does, late), `slow` (its answer takes `SLOW_S`)."""

    def __init__(self) -> None:
        self.now = "fine"
        self.slow_s: dict[str, float] = {}
        """How long each answer of a kind is on its way."""
        self._changed = asyncio.Event()
        self.next: dict[str, list[str]] = {}
        """What the next calls of a kind meet with, whatever the weather."""

    def becomes(self, weather: str) -> None:
        """Change."""
        self.now = weather
        self._changed.set()
        self._changed = asyncio.Event()

    async def over(self) -> None:
        """Return when nothing hangs."""
        while self.now == "hung":
            await self._changed.wait()


class Exposed:
    """A port in the weather."""

    def __init__(self, port: Any, weather: Weather) -> None:
        self._port = port
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def called(*args: Any, **kwargs: Any) -> Any:
            named = self._weather.next.get(name)
            now = named.pop(0) if named else self._weather.now
            if now in {"away", "refused"}:
                await asyncio.sleep(DEADLINE_S if now == "away" else 0)
                raise StoreUnavailable("the store is away")
            if now == "hung":
                await self._weather.over()
            answer = await found(*args, **kwargs)
            if now == "slow" or name in self._weather.slow_s:
                await asyncio.sleep(self._weather.slow_s.get(name, SLOW_S))
            if now == "cut":
                raise StoreUnavailable("the store's answer was lost")
            return answer

        return called
