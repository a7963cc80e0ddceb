"""Who waits for the store to say that an operation has changed, in this process; one subscription feeds them all."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Woken:
    """A wake-up that may come from now on: entered before the record is read, so that none falls in between."""

    __slots__ = ("_event", "_operation", "_wakeups")

    def __init__(self, wakeups: Wakeups, operation: str) -> None:
        self._wakeups = wakeups
        self._operation = operation
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._wakeups.waiting.setdefault(self._operation, []).append(self._event)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        events = self._wakeups.waiting[self._operation]
        events.remove(self._event)
        if not events:
            del self._wakeups.waiting[self._operation]

    async def wait(self, seconds_max: float) -> None:
        """Return when woken, or after `seconds_max`."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._event.wait()
        except TimeoutError:
            return


class Wakeups:
    """Give `heard` to the store as its listener."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[asyncio.Event]] = {}

    def expect(self, operation: str) -> Woken:
        """Return a context within which a change of `operation` wakes."""
        return Woken(self, operation)

    def heard(self, operation: str) -> None:
        """Wake whoever waits for `operation`."""
        for event in self.waiting.get(operation, ()):
            event.set()
