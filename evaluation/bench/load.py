"""The load generator: light enough not to be what is measured.

Here is what the two ways of asking share; `closed_loop` and `open_loop` are the ways. A reply that is not what the
workload expects ends the measurement: the speed of wrong answers is of no interest.
"""

from __future__ import annotations

import abc
import asyncio
import collections
from collections.abc import Callable
from typing import cast

from msgspec import Struct

from evaluation.address import Address
from evaluation.bench.framing import BadFraming, header, split_message

Clock = Callable[[], float]
Answered = Callable[["Connection", bytes, bytes], None]

ANSWER_S = 30.0
"""How long the last answers may take before the measurement is given up."""


class WrongAnswer(Exception):
    """A reply that the workload does not expect, or a connection that was closed on us."""


class Timings(Struct, frozen=True):
    """What a load gave: one latency per answered request in seconds, its duration, and `Holdfast-Outcome` counted."""

    latencies_s: list[float]
    seconds: float
    outcomes: dict[str, int]


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request at a time."""

    def __init__(self, answered: Answered, broken: Callable[[Exception], None]) -> None:
        self._answered = answered
        self._broken = broken
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is one in all but its bases

    def send(self, request: bytes) -> None:
        """Ask."""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Hand a reply on once it is whole."""
        if self._buffer:
            data = self._buffer + data
        try:
            message = split_message(data)
        except BadFraming as error:
            self._broken(WrongAnswer(str(error)))
            return
        if message is None:
            self._buffer = data
        else:
            self._buffer = b""
            self._answered(self, *message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report it; nobody listens any more when the load has closed the connection itself."""
        self._broken(WrongAnswer(f"the connection was closed: {exc or 'end of file'}"))

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()


class Load(abc.ABC):
    """Connections to one server, the timings, and the end."""

    def __init__(self, address: Address, status: int, clock: Clock) -> None:
        self._address = address
        self._status = b"%d" % status
        self._clock = clock
        self._latencies: list[float] = []
        self._outcomes: collections.Counter[bytes] = collections.Counter()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connections: list[Connection] = []

    async def connect(self, count: int) -> None:
        """Open `count` more connections. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, connection = await loop.create_connection(
                lambda: Connection(self._answered, self._break), self._address.host, self._address.port
            )
            self.connections.append(connection)

    def close(self) -> None:
        """Hang up on everybody."""
        self._finish()
        for connection in self.connections:
            connection.close()

    def _count(self, head: bytes, body: bytes, latency_s: float) -> None:
        if head[9:12] != self._status:
            self._break(WrongAnswer(f"not {self._status.decode()}: {(head + b' ' + body)[:600]!r}"))
        self._latencies.append(latency_s)
        self._outcomes[header(head, b"holdfast-outcome")] += 1

    @abc.abstractmethod
    def _answered(self, connection: Connection, head: bytes, body: bytes) -> None:
        """A reply came in, whole."""

    def _break(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _timings(self, seconds: float) -> Timings:
        outcomes = {name.decode(): count for name, count in self._outcomes.items() if name}
        return Timings(self._latencies, seconds, outcomes)
