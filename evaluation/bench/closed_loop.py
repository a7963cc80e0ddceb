"""The closed loop: so many requests in flight, and the next one once the last has been answered. Throughput and CPU."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from evaluation.address import Address
from evaluation.bench.load import ANSWER_S, Clock, Connection, Load, Timings


class _Group:
    """Connections that ask together."""

    def __init__(self, members: list[Connection]) -> None:
        self.members = members
        self.waiting = 0
        self.asked = 0.0


class ClosedLoop(Load):
    """Groups of connections. All of a group ask the same at once; when all are answered, the group asks the next.

    A group of one is the ordinary closed loop; a group of two is a call and its duplicate, sent together.
    """

    def __init__(self, address: Address, status: int = 201, clock: Clock = time.perf_counter) -> None:
        super().__init__(address, status, clock)
        self._group_of: dict[Connection, _Group] = {}

    async def run(self, next_request: Callable[[], bytes | None], groups: int, width: int, seconds: float) -> Timings:
        """Ask for `seconds`, or until there is no next request, on connections that are open already.

        Raises `WrongAnswer`, `TimeoutError`.
        """
        self._next_request = next_request
        self._running = groups
        self._begin = self._clock()
        self._deadline = self._begin + seconds
        for number in range(groups):
            group = _Group(self.connections[number * width : (number + 1) * width])
            self._group_of.update(dict.fromkeys(group.members, group))
            self._ask(group)
        async with asyncio.timeout(seconds + ANSWER_S):
            await self._done
        return self._timings(self._clock() - self._begin)

    def _ask(self, group: _Group) -> None:
        request = self._next_request() if self._clock() < self._deadline else None
        if request is None:
            self._running -= 1
            if not self._running:
                self._finish()
            return
        group.waiting = len(group.members)
        group.asked = self._clock()
        for connection in group.members:
            connection.send(request)

    def _answered(self, connection: Connection, head: bytes, body: bytes) -> None:
        now = self._clock()
        group = self._group_of[connection]
        self._count(head, body, now - group.asked)
        group.waiting -= 1
        if not group.waiting:
            self._ask(group)
