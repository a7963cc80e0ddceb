"""Streams: as they come, no faster than they are read, and never a cut one for a whole one."""

from __future__ import annotations

import asyncio

import pytest

from proxy.forward import Replied, ReplyStream, Truncated
from proxy.upstream.pool import Upstream
from proxy.upstream.stream import BUFFER_BYTES_MAX
from tests.proxy.upstream.conftest import StartTool
from tests.proxy.upstream.hostile import Script, Wire, ends_after, replies, request, until

pytestmark = pytest.mark.loops("asyncio", "uvloop")

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def streamed(upstream: Upstream, tool: StartTool, script: Script) -> tuple[bytes, ReplyStream]:
    """Run `script` and return what came of its reply with the head, and the stream of the rest."""
    _, origin = await tool(script)
    outcome = await upstream(request(origin, keep_bytes_max=0))
    assert isinstance(outcome, Replied)
    assert outcome.stream is not None
    return outcome.body, outcome.stream


@pytest.mark.fault(31)
async def test_events_arrive_one_by_one(upstream: Upstream, tool: StartTool) -> None:
    """Each is read before the tool sends the next: nothing waits for a buffer to fill."""
    read = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n"))
        for number in range(5):
            await read.wait()
            read.clear()
            await wire.send(b"9\r\ndata: %d\n\n\r\n" % number)
        await wire.send(b"0\r\n\r\n")
        await wire.hung_up()

    _, stream = await streamed(upstream, tool, script)
    events = []
    read.set()
    async for piece in stream:
        events.append(piece)
        read.set()
    assert events == [b"data: %d\n\n" % number for number in range(5)]
    assert upstream.stats.idle == 1


async def test_a_slow_reader_slows_the_tool_down(upstream: Upstream, tool: StartTool) -> None:
    """The tool's writes stall while nobody reads; reading takes them up again, and everything arrives (30)."""
    total = 64 << 20
    sent = 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            await wire.send(b"x" * 65536)
            sent += 65536
        await wire.hung_up()

    body, stream = await streamed(upstream, tool, script)
    (connection,) = upstream._open
    await until(lambda: connection._paused)
    stalled_at = -1
    while stalled_at != sent:  # the kernel's buffers fill up first
        stalled_at = sent
        await asyncio.sleep(0.05)
    assert sent < total
    assert len(stream._buffer) <= BUFFER_BYTES_MAX + (256 << 10)  # type: ignore[attr-defined]
    read = len(body)
    async for piece in stream:
        read += len(piece)
    assert read == total
    assert upstream.stats.idle == 1


@pytest.mark.fault(31)
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "cut",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", CHUNKED + b"4\r\nhell\r\n", CHUNKED + b"4\r\nhell\r\n0\r\n"],
)
async def test_a_stream_cut_short_raises(upstream: Upstream, tool: StartTool, cut: bytes, *, reset: bool) -> None:
    """Whoever reads is told that this was not all, after what did come in."""
    _, origin = await tool(ends_after(cut, reset=reset))
    outcome = await upstream(request(origin, keep_bytes_max=0))
    if not isinstance(outcome, Replied):
        assert reset  # a reset may overtake the head
        return
    assert outcome.stream is not None
    read = bytearray(outcome.body)

    async def read_on(stream: ReplyStream) -> None:
        async for piece in stream:
            read.extend(piece)

    with pytest.raises(Truncated):
        await read_on(outcome.stream)
    assert read == b"hell"
    await until(lambda: upstream.stats.open == 0)


async def test_a_stream_that_turns_malformed_raises(upstream: Upstream, tool: StartTool) -> None:
    """It is not known what was meant; the connection is closed."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + b"4\r\nhell\r\n")
        await go.wait()
        await wire.send(b"nonsense\r\n")
        await wire.hung_up()

    _, stream = await streamed(upstream, tool, script)
    go.set()
    with pytest.raises(Truncated, match="malformed"):
        async for _ in stream:
            pass
    await until(lambda: upstream.stats.open == 0)


async def test_a_stream_that_ends_with_its_connection_ends(upstream: Upstream, tool: StartTool) -> None:
    """Close-delimited: the end is the end. A reset is not."""
    body, stream = await streamed(upstream, tool, ends_after(b"HTTP/1.1 200 OK\r\n\r\nhello"))
    assert body + b"".join([piece async for piece in stream]) == b"hello"


async def test_closing_a_stream_hangs_up_on_the_tool(upstream: Upstream, tool: StartTool) -> None:
    """The tool sees it, also while it is paused; whoever reads on is told."""
    gone = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                await wire.send(b"x" * 65536)
        finally:
            gone.set()

    _, stream = await streamed(upstream, tool, script)
    (connection,) = upstream._open
    await until(lambda: connection._paused)
    stream.close()
    await gone.wait()
    with pytest.raises(Truncated):
        await anext(aiter(stream))
    await until(lambda: upstream.stats.open == 0)


async def test_closing_a_stream_wakes_its_reader(upstream: Upstream, tool: StartTool) -> None:
    """Nobody is left waiting for what will not come (I4)."""
    _, stream = await streamed(upstream, tool, replies(CHUNKED))
    reader = asyncio.ensure_future(anext(aiter(stream)))
    await asyncio.sleep(0)
    stream.close()
    with pytest.raises(Truncated):
        await reader


async def test_closing_a_stream_that_is_whole_keeps_its_connection(upstream: Upstream, tool: StartTool) -> None:
    """There is nothing left to hang up on."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        await go.wait()
        await wire.send(b"4\r\nhell\r\n0\r\n\r\n")
        await wire.hung_up()

    _, stream = await streamed(upstream, tool, script)
    go.set()
    await until(lambda: upstream.stats.idle == 1)
    stream.close()
    assert (upstream.stats.idle, upstream.stats.open) == (1, 1)


async def test_a_reader_that_is_cancelled_can_read_on(upstream: Upstream, tool: StartTool) -> None:
    """Cancelling a read takes nothing away from the stream."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        await go.wait()
        await wire.send(b"4\r\nhell\r\n0\r\n\r\n")
        await wire.hung_up()

    _, stream = await streamed(upstream, tool, script)
    reader = asyncio.ensure_future(anext(aiter(stream)))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    go.set()
    assert [piece async for piece in stream] == [b"hell"]
