"""How long idle connections are kept, and how many, with the hands of the clock turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from proxy.forward import Origin
from proxy.upstream import idle as module
from proxy.upstream.connection import Connection
from proxy.upstream.idle import IDLE_S_MAX, Idle
from tests.proxy.upstream.conftest import StartTool
from tests.proxy.upstream.hostile import Wire

pytestmark = pytest.mark.loops("asyncio", "uvloop")


class Alarm:
    """A callback at a time."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class Hands:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = 100.0
        self.alarms: list[Alarm] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> Alarm:
        """Call back when it is turned to `when`."""
        self.alarms.append(Alarm(when, callback))
        return self.alarms[-1]

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for alarm in [alarm for alarm in self.alarms if alarm.when <= self.now]:
            self.alarms.remove(alarm)
            if not alarm.cancelled:
                alarm.callback()


class Kept:
    """The owner of connections: keeps them idle, as the pool does."""

    def __init__(self, origin: Origin) -> None:
        self.hands = Hands()
        self.idle = Idle(self.hands)
        self.origin = origin
        self.gone_count = 0
        self.made: list[Connection] = []

    async def dial(self) -> Connection:
        """Return a new connection."""
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(
            lambda: Connection(self.origin, self, loop), self.origin.host, self.origin.port
        )
        connection.adopt(transport)
        self.made.append(connection)
        return connection

    def freed(self, connection: Connection) -> None:
        """Keep it."""
        self.idle.put(connection)

    def gone(self, connection: Connection) -> None:
        """Forget it."""
        self.idle.forget(connection)
        self.gone_count += 1


@pytest.fixture
async def kept(tool: StartTool) -> AsyncIterator[Kept]:
    """Idle connections to a tool that waits."""

    async def waits(wire: Wire) -> None:
        await wire.hung_up()

    _, origin = await tool(waits)
    keeper = Kept(origin)
    yield keeper
    for connection in keeper.made:
        connection.drop("the test is over")


async def test_a_connection_is_dropped_when_it_has_been_idle_too_long(kept: Kept) -> None:
    """At four seconds, not before; one timer serves all, and none is left when nothing is kept."""
    first, second = await kept.dial(), await kept.dial()
    kept.idle.put(first)
    kept.hands.turn(1)
    kept.idle.put(second)
    kept.hands.turn(IDLE_S_MAX - 1.001)
    assert (len(kept.idle), first.alive, len(kept.hands.alarms)) == (2, True, 1)
    kept.hands.turn(0.001)
    assert (len(kept.idle), first.alive, second.alive) == (1, False, True)
    kept.hands.turn(1)
    assert (len(kept.idle), second.alive) == (0, False)
    assert not kept.hands.alarms


async def test_a_connection_that_is_too_old_is_not_taken_even_if_the_timer_is_late(kept: Kept) -> None:
    """The event loop was blocked for ten seconds: whatever was idle is stale."""
    kept.idle.put(await kept.dial())
    kept.hands.now += 10
    assert kept.idle.take(kept.origin) is None
    assert len(kept.idle) == 0


async def test_a_connection_taken_and_put_back_starts_its_time_anew(kept: Kept) -> None:
    """Idle means idle without a break."""
    connection = await kept.dial()
    kept.idle.put(connection)
    kept.hands.turn(3)
    assert kept.idle.take(kept.origin) is connection
    kept.idle.put(connection)
    kept.hands.turn(3)
    assert kept.idle.take(kept.origin) is connection


async def test_no_more_than_so_many_are_kept(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per origin and in all; what is too much is dropped, what is kept stays."""
    monkeypatch.setattr(module, "IDLE_PER_ORIGIN_MAX", 2)
    monkeypatch.setattr(module, "IDLE_MAX", 3)
    connections = [await kept.dial() for _ in range(5)]
    for connection in connections[:3]:
        kept.idle.put(connection)
    assert [connection.alive for connection in connections[:3]] == [True, True, False]
    for connection in connections[3:]:
        connection.origin = Origin("http", "elsewhere", 80)
        kept.idle.put(connection)
    assert [connection.alive for connection in connections[3:]] == [True, False]
    assert len(kept.idle) == 3


async def test_closing_drops_everything_and_the_timer(kept: Kept) -> None:
    """Nothing of it is left."""
    connection = await kept.dial()
    kept.idle.put(connection)
    kept.idle.close()
    assert (len(kept.idle), connection.alive) == (0, False)
    assert all(alarm.cancelled for alarm in kept.hands.alarms)
