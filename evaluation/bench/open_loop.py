"""The open loop: requests at a fixed rate, whatever comes back.

Each answer is timed from when its request was *meant* to be sent: a server that stalls does not slow the questions down
and thereby hide what its callers would have waited (coordinated omission; Tene, "How NOT to Measure Latency").
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable

from evaluation.address import Address
from evaluation.bench.alarm import Alarm
from evaluation.bench.load import ANSWER_S, Clock, Connection, Load, Timings


class Schedule:
    """When requests are meant to be sent: `count` of them, the first at `begin_s`, `rate` a second."""

    def __init__(self, begin_s: float, rate: float, count: int) -> None:
        self._begin_s = begin_s
        self._rate = rate
        self._count = count
        self._taken = 0

    @property
    def next_s(self) -> float | None:
        """When the next one is meant to be sent; None when all have been taken."""
        return self._begin_s + self._taken / self._rate if self._taken < self._count else None

    def due(self, now_s: float) -> list[float]:
        """Take the times that have come."""
        taken: list[float] = []
        while (at_s := self.next_s) is not None and at_s <= now_s:
            taken.append(at_s)
            self._taken += 1
        return taken


class OpenLoop(Load):
    """Sends on whichever connection is idle; where none is, the request waits for one, and its clock runs."""

    def __init__(self, address: Address, status: int = 201, clock: Clock = time.monotonic) -> None:
        super().__init__(address, status, clock)
        self._backlog: collections.deque[float] = collections.deque()
        self._intended: dict[Connection, float] = {}
        self._open = 0

    async def run(self, next_request: Callable[[], bytes], rate: float, count: int) -> Timings:
        """Ask `count` times, on the connections that are open already. Raises `WrongAnswer`, `TimeoutError`."""
        self._next_request = next_request
        self._idle = list(self.connections)
        self._open = count
        begin = self._clock()
        self._schedule = Schedule(begin + 1 / rate, rate, count)
        self._alarm = Alarm(self._ring)
        try:
            self._rearm()
            async with asyncio.timeout(count / rate + ANSWER_S):
                await self._done
        finally:
            self._alarm.close()
        return self._timings(self._clock() - begin)

    def _ring(self) -> None:
        self._backlog.extend(self._schedule.due(self._clock()))
        self._rearm()
        self._send()

    def _rearm(self) -> None:
        if (at_s := self._schedule.next_s) is not None:
            self._alarm.arm(at_s)

    def _send(self) -> None:
        while self._backlog and self._idle:
            connection = self._idle.pop()
            self._intended[connection] = self._backlog.popleft()
            connection.send(self._next_request())

    def _answered(self, connection: Connection, head: bytes, body: bytes) -> None:
        self._count(head, body, self._clock() - self._intended.pop(connection))
        self._idle.append(connection)
        self._open -= 1
        if self._open:
            self._send()
        else:
            self._finish()
