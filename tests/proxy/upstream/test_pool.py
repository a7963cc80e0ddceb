"""The forward as a whole: which connection a request goes over, and what is left when it is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.forward import Headers, Lost, NotSent, Replied
from proxy.upstream.pool import Upstream
from tests.proxy.upstream.conftest import StartTool
from tests.proxy.upstream.hostile import OK, Wire, replies, request, until

pytestmark = pytest.mark.loops("asyncio", "uvloop")


async def silent(wire: Wire) -> None:
    """Read a request and never answer."""
    await wire.request()
    await wire.hung_up()


async def test_a_request_on_an_idle_connection_takes_no_dial_and_no_task(upstream: Upstream, tool: StartTool) -> None:
    """The second request goes out over the first one's connection, without a task of its own."""
    hostile, origin = await tool(replies(OK, OK))
    assert isinstance(await upstream(request(origin)), Replied)
    tasks = 0

    def count(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        nonlocal tasks
        tasks += 1
        return asyncio.Task(coroutine, loop=loop, **more)

    asyncio.get_running_loop().set_task_factory(count)
    outcome = await upstream(request(origin, b"POST", body=b"x" * 100))
    asyncio.get_running_loop().set_task_factory(None)
    assert isinstance(outcome, Replied)
    assert (hostile.connections, tasks) == (1, 0)
    assert (upstream.stats.dials, upstream.stats.reuses, upstream.stats.open, upstream.stats.idle) == (1, 1, 1, 1)


async def test_the_connection_used_last_is_taken_first(upstream: Upstream, tool: StartTool) -> None:
    """Of two idle connections the younger is the less likely to be closing."""
    answer = asyncio.Event()
    served: list[int] = []

    async def script(wire: Wire) -> None:
        number = hostile.connections
        while True:
            await wire.request()
            served.append(number)
            if number == 1 and served.count(1) == 1:
                await answer.wait()
            await wire.send(OK)

    hostile, origin = await tool(script)
    first = asyncio.create_task(upstream(request(origin)))
    await until(lambda: served == [1])
    await upstream(request(origin))
    answer.set()
    await first
    await upstream(request(origin))
    assert served == [1, 2, 1]


async def test_connections_are_not_shared_between_origins(upstream: Upstream, tool: StartTool) -> None:
    """A name and its address are two origins: what one of them let us do is not asked of the other (I3)."""
    hostile, origin = await tool(replies(OK, OK))
    await upstream(request(origin))
    await upstream(request(type(origin)("http", "localhost", origin.port)))
    assert hostile.connections == 2


async def test_cancelling_the_call_hangs_up_on_the_tool(upstream: Upstream, tool: StartTool) -> None:
    """The tool sees the end of the connection, which is never used again."""
    gone = asyncio.Event()

    async def script(wire: Wire) -> None:
        await silent(wire)
        gone.set()

    hostile, origin = await tool(script)
    call = asyncio.create_task(upstream(request(origin)))
    await until(lambda: len(hostile.seen) == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await gone.wait()
    await until(lambda: upstream.stats.open == 0)


async def test_cancelling_a_call_whose_reply_has_just_come_in_keeps_nothing_open(
    upstream: Upstream, tool: StartTool
) -> None:
    """A stream that nobody was given has nobody to close it.

    The interim reply lets the cancellation into the loop's queue right before the outcome of the same segment.
    """
    _, origin = await tool(replies(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"))

    def cancel_soon(_status: int, _headers: Headers) -> None:
        asyncio.get_running_loop().call_soon(call.cancel)

    forward = upstream(request(origin, keep_bytes_max=0), on_informational=cancel_soon)
    call = asyncio.create_task(forward)
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: upstream.stats.open == 0)


async def test_cancelling_a_call_whose_connection_carries_the_next_request_leaves_that_alone(
    upstream: Upstream, tool: StartTool
) -> None:
    """Between the reply and the moment when its caller wakes up, the connection may have been taken by another call.

    The interim reply lets both the next call and the cancellation into the loop's queue before the wake-up.
    """
    hostile, origin = await tool(replies(b"HTTP/1.1 103 Early\r\n\r\n" + OK, OK))
    later: list[asyncio.Task[Any]] = []

    def meanwhile(_status: int, _headers: Headers) -> None:
        later.append(asyncio.create_task(upstream(request(origin))))
        asyncio.get_running_loop().call_soon(call.cancel)

    call = asyncio.create_task(upstream(request(origin), on_informational=meanwhile))
    with pytest.raises(asyncio.CancelledError):
        await call
    assert isinstance(await later[0], Replied)
    assert hostile.connections == 1


async def test_closing_hangs_up_on_every_tool_and_calls_under_way_are_lost(upstream: Upstream, tool: StartTool) -> None:
    """After `close` nothing is open, and nothing can be sent any more."""
    hostile, origin = await tool(silent)
    calls = [asyncio.create_task(upstream(request(origin))) for _ in range(3)]
    await until(lambda: len(hostile.seen) == 3)
    await asyncio.gather(upstream.close(), upstream.close())
    assert upstream.stats.open == 0
    assert await asyncio.gather(*calls) == [Lost("shutting down")] * 3
    assert isinstance(await upstream(request(origin)), NotSent)
    assert len(hostile.seen) == 3


async def test_an_impossible_request_is_refused_before_anything_is_dialled(upstream: Upstream, tool: StartTool) -> None:
    """ValueError, and the tool sees nothing."""
    hostile, origin = await tool(silent)
    with pytest.raises(ValueError, match="CR, LF"):
        await upstream(request(origin, target=b"/\r\nX: y"))
    assert (hostile.connections, upstream.stats.dials) == (0, 0)


async def test_many_calls_at_once_each_get_their_own_reply(upstream: Upstream, tool: StartTool) -> None:
    """Two hundred over as many connections as it takes, then again over the idle ones; nobody gets another's (I3)."""

    async def echo(wire: Wire) -> None:
        while True:
            target = (await wire.request()).split(b" ", 2)[1]
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    _, origin = await tool(echo)
    for _ in range(2):
        targets = [b"/%d" % number for number in range(200)]
        outcomes = await asyncio.gather(*(upstream(request(origin, target=target)) for target in targets))
        assert [outcome.body for outcome in outcomes if isinstance(outcome, Replied)] == targets
    assert upstream.stats.idle <= 100


async def test_request_that_the_tool_does_not_take_in_time_is_dropped(upstream: Upstream, tool: StartTool) -> None:
    """No byte of it is sent later than that: what nobody knows the outcome of must not begin after it was given up."""
    gone = asyncio.Event()

    async def reads_nothing(wire: Wire) -> None:
        await gone.wait()

    _, origin = await tool(reads_nothing)
    stuck = request(origin, b"POST", body=b"x" * (32 * 1024 * 1024), write_ms=50)
    outcome = await upstream(stuck)
    gone.set()
    assert outcome == Lost("the tool did not take the whole request in time")
