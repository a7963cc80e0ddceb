"""What the audit does not show: requests that came, are being worked on, or came to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Counts:
    """How many requests to act have come (`arrivals`) and have yet to act or to come to nothing (`in_flight`); how many
    reads there were, by tool; and which calls' requests had no effect, how often and why."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.in_flight = 0
        self.reads: dict[str, int] = {}
        self.without_effect: dict[str, dict[str, int]] = {}
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def arrived(self) -> None:
        """A request to act has come."""
        self.arrivals += 1
        self.in_flight += 1
        self._wake()

    def settled(self) -> None:
        """A request has acted, or will not."""
        self.in_flight -= 1
        self._wake()

    def came_to_nothing(self, call: str, why: str) -> None:
        """A request of a call had no effect."""
        reasons = self.without_effect.setdefault(call, {})
        reasons[why] = reasons.get(why, 0) + 1

    def read(self, tool: str) -> None:
        """Something was read."""
        self.reads[tool] = self.reads.get(tool, 0) + 1

    async def until(self, arrivals: int, *, settled: bool) -> None:
        """Wait for so many arrivals, and with `settled` until nothing that has come can still act."""

        def holds() -> bool:
            return self.arrivals >= arrivals and not (settled and self.in_flight)

        if not holds():
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((holds, future))
            await future

    def shown(self, prefix: str) -> dict[str, Any]:
        """Return all counts; of the calls, those whose names begin with `prefix`."""
        return {
            "arrivals": self.arrivals,
            "in_flight": self.in_flight,
            "reads": self.reads,
            "without_effect": {call: why for call, why in self.without_effect.items() if call.startswith(prefix)},
        }

    def _wake(self) -> None:
        if not self._waiting:
            return
        still = []
        for holds, future in self._waiting:
            if future.done():
                continue
            if holds():
                future.set_result(None)
            else:
                still.append((holds, future))
        self._waiting = still
