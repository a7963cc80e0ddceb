"""Idle connections by origin: the youngest is taken first, none is kept long, none is kept without bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy.forward import Origin
from proxy.upstream.connection import Connection

IDLE_S_MAX = 4.0
"""Below the five seconds after which Node and uvicorn close: whoever keeps longer writes into closing connections."""

IDLE_PER_ORIGIN_MAX = 100
"""A tool's default `limits.inFlight`: what one tool's busiest moment leaves behind."""

IDLE_MAX = 256
"""In all: a quarter of the customary 1,024 descriptors of a process."""


class Timer(Protocol):
    """A callback that was asked for."""

    def cancel(self) -> None:
        """Do not call back."""


class Clock(Protocol):
    """The part of an event loop that this file uses, so that a test can turn the hands."""

    def time(self) -> float:
        """Return the time in seconds."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Call back at `when`."""


class Idle:
    """The idle connections of one event loop. One timer in all, set for the connection that has been idle longest."""

    __slots__ = ("_by_origin", "_clock", "_count", "_timer")

    def __init__(self, clock: Clock) -> None:
        self._by_origin: dict[Origin, list[Connection]] = {}
        self._count = 0
        self._clock = clock
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return self._count

    def take(self, origin: Origin) -> Connection | None:
        """Return the connection to `origin` that was used last and is still quiet; drop those found otherwise."""
        connections = self._by_origin.get(origin)
        while connections:
            connection = connections.pop()
            self._count -= 1
            # A timer runs late when the event loop was blocked, so age is looked at here as well.
            if connection.quiet() and self._clock.time() - connection.idle_since < IDLE_S_MAX:
                return connection
            connection.drop("stale")
        return None

    def put(self, connection: Connection) -> None:
        """Keep `connection` for a while, or drop it where enough are kept."""
        connections = self._by_origin.get(connection.origin)
        if connections is None:
            connections = self._by_origin[connection.origin] = []
        if self._count >= IDLE_MAX or len(connections) >= IDLE_PER_ORIGIN_MAX:
            connection.drop("enough are idle")
            return
        connection.idle_since = self._clock.time()
        connections.append(connection)
        self._count += 1
        if self._timer is None:
            self._timer = self._clock.call_at(connection.idle_since + IDLE_S_MAX, self._sweep)

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that is gone, if it is kept here."""
        connections = self._by_origin.get(connection.origin)
        if connections and connection in connections:
            connections.remove(connection)
            self._count -= 1

    def close(self) -> None:
        """Drop every connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connections in self._by_origin.values():
            for connection in connections:
                connection.drop("closing")
        self._by_origin.clear()
        self._count = 0

    def _sweep(self) -> None:
        """Drop what is too old and come back when the next one will be; forget origins with nothing left."""
        self._timer = None
        due = self._clock.time() - IDLE_S_MAX
        oldest: float | None = None
        for origin, connections in list(self._by_origin.items()):
            old = sum(connection.idle_since <= due for connection in connections)
            for connection in connections[:old]:
                connection.drop("idle for long")
            del connections[:old]
            self._count -= old
            if not connections:
                del self._by_origin[origin]
            elif oldest is None or connections[0].idle_since < oldest:
                oldest = connections[0].idle_since
        if oldest is not None:
            self._timer = self._clock.call_at(oldest + IDLE_S_MAX, self._sweep)
