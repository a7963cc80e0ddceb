"""Streamed uploads: framed as announced, as fast as the tool takes them, and never half a body for a whole one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.forward import Lost, Replied, Truncated
from proxy.upstream.idle import IDLE_S_MAX
from proxy.upstream.pool import Upstream
from tests.proxy.upstream.conftest import StartTool
from tests.proxy.upstream.hostile import OK, Wire, replies, request, until

pytestmark = pytest.mark.loops("asyncio", "uvloop")


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """A body in pieces."""
    for piece in data:
        yield piece


async def reads_everything(wire: Wire) -> None:
    """Note whatever comes, and never answer."""
    wire.seen.append(b"")
    while data := await wire.reader.read(65536):
        wire.seen[-1] += data


async def test_an_upload_of_unknown_length_goes_in_chunks(upstream: Upstream, tool: StartTool) -> None:
    """A chunk for each piece, none for an empty one, and the last chunk at the end; the connection is kept."""
    hostile, origin = await tool(replies(OK))
    outcome = await upstream(request(origin, b"POST", body=pieces(b"hello", b"", b"x" * 17)))
    assert isinstance(outcome, Replied)
    assert hostile.seen[0].split(b"\r\n\r\n", 1)[1] == b"5\r\nhello\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"
    assert upstream.stats.idle == 1


async def test_an_upload_of_announced_length_goes_as_it_is(upstream: Upstream, tool: StartTool) -> None:
    """Nothing is put between the pieces."""
    hostile, origin = await tool(replies(OK))
    outcome = await upstream(request(origin, b"POST", body=pieces(b"he", b"llo"), body_length=5))
    assert isinstance(outcome, Replied)
    assert hostile.seen[0].endswith(b"Content-Length: 5\r\n\r\nhello")
    assert upstream.stats.idle == 1


@pytest.mark.parametrize("body", [(b"hell",), (b"hello", b"!"), (b"hello!",)])
async def test_an_upload_of_another_length_than_announced_is_lost(
    upstream: Upstream, tool: StartTool, body: tuple[bytes, ...]
) -> None:
    """Not a byte too many is written, and too few end with the connection: the tool cannot take them for whole."""
    hostile, origin = await tool(reads_everything)
    outcome = await upstream(request(origin, b"POST", body=pieces(*body), body_length=5))
    assert isinstance(outcome, Lost)
    assert "announced 5" in outcome.why
    await until(lambda: upstream.stats.open == 0)
    assert b"!" not in hostile.seen[0]


@pytest.mark.parametrize("length", [None, 100])
async def test_an_upload_whose_source_fails_is_lost_and_never_looks_whole(
    upstream: Upstream, tool: StartTool, length: int | None
) -> None:
    """The caller hung up in the middle: no last chunk is written, and the reason is told."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"hello"
        await until(lambda: b"hello" in hostile.seen[0])
        raise ConnectionResetError("the caller went away")

    hostile, origin = await tool(reads_everything)
    outcome = await upstream(request(origin, b"POST", body=failing(), body_length=length))
    assert outcome == Lost("the request body ended early: ConnectionResetError: the caller went away")
    await until(lambda: upstream.stats.open == 0)
    assert b"0\r\n\r\n" not in hostile.seen[0].split(b"\r\n\r\n", 1)[1]


async def test_a_failing_upload_cuts_the_reply_that_is_being_streamed(upstream: Upstream, tool: StartTool) -> None:
    """Both ways at once: the reader of the reply is told why it ends."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await wire.hung_up()

    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        await go.wait()
        raise ValueError("broken")

    _, origin = await tool(script)
    outcome = await upstream(request(origin, b"POST", body=failing(), keep_bytes_max=0))
    assert isinstance(outcome, Replied)
    assert outcome.stream is not None
    go.set()
    with pytest.raises(Truncated, match="ValueError: broken"):
        await anext(aiter(outcome.stream))


async def test_a_tool_that_reads_slowly_slows_the_upload_down(upstream: Upstream, tool: StartTool) -> None:
    """The source is not asked for more while the tool is behind."""
    read, asked, total = asyncio.Event(), 0, 64 << 20

    async def source() -> AsyncIterator[bytes]:
        nonlocal asked
        while asked < total:
            asked += 65536
            yield b"x" * 65536

    async def script(wire: Wire) -> None:
        await read.wait()
        await wire.request()
        await wire.send(OK)
        await wire.hung_up()

    hostile, origin = await tool(script)
    call = asyncio.create_task(upstream(request(origin, b"POST", body=source(), body_length=total)))
    await until(lambda: asked > 0)
    stalled_at = -1
    while stalled_at != asked:  # the kernel's buffers fill up first
        stalled_at = asked
        await asyncio.sleep(0.05)
    assert asked < total
    read.set()
    assert isinstance(await call, Replied)
    assert len(hostile.seen[0].split(b"\r\n\r\n", 1)[1]) == total


async def test_a_reply_gives_the_caller_its_source_back(upstream: Upstream, tool: StartTool) -> None:
    """With the outcome of an early reply the iterator is closed, not left running somewhere."""
    closed = False

    async def endless() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)  # closing a source may take its time
            await asyncio.sleep(0)
            closed = True

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(OK)
        await wire.hung_up()

    _, origin = await tool(script)
    async with asyncio.timeout(IDLE_S_MAX / 2):  # not only when the connection has been idle for long
        assert isinstance(await upstream(request(origin, b"POST", body=endless())), Replied)
    assert closed
    assert upstream.stats.idle == 0


async def test_a_source_that_is_not_read_to_its_end_is_closed(upstream: Upstream, tool: StartTool) -> None:
    """Whoever holds something open behind the iterator is told."""

    class Source:
        closed = False

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> bytes:
            return b"more than announced"

        async def aclose(self) -> None:
            self.closed = True

    source = Source()
    _, origin = await tool(reads_everything)
    assert isinstance(await upstream(request(origin, b"POST", body=source, body_length=5)), Lost)
    assert source.closed


async def test_cancelling_the_call_stops_the_upload(upstream: Upstream, tool: StartTool) -> None:
    """Nobody asks the source any more, and the tool sees the end."""
    hostile, origin = await tool(reads_everything)
    waiting = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"hello"
        waiting.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(upstream(request(origin, b"POST", body=stuck())))
    await waiting.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: upstream.stats.open == 0)
    assert hostile.connections == 1
