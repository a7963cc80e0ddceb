"""What is kept whole and what is handed over as a stream."""

from __future__ import annotations

import asyncio

import pytest

from proxy.forward import Replied
from proxy.upstream.pool import Upstream
from tests.proxy.upstream.conftest import StartTool
from tests.proxy.upstream.hostile import Wire, replies, request

pytestmark = pytest.mark.loops("asyncio", "uvloop")

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.fault(30, 31)
@pytest.mark.parametrize(
    ("reply", "keep", "streamed"),
    [
        (LENGTH, 5, False),
        (LENGTH, 4, True),
        (CHUNKED, 5, False),
        (CHUNKED, 4, True),
        (EVENTS, 5, True),
        (LENGTH, 0, False),
        (CHUNKED, 0, False),
        (EMPTY, 0, False),
    ],
)
async def test_a_reply_beyond_the_limit_is_streamed(
    upstream: Upstream, tool: StartTool, reply: bytes, keep: int, *, streamed: bool
) -> None:
    """A kept reply is whole and within its limit; an event stream is never kept; with no limit to keep to, what is
    there at once is handed over at once. The connection is free again in every case."""
    _, origin = await tool(replies(reply))
    outcome = await upstream(request(origin, keep_bytes_max=keep))
    assert isinstance(outcome, Replied)
    assert (outcome.stream is not None) is streamed
    body, trailers = outcome.body, outcome.trailers
    if outcome.stream is not None:
        body += b"".join([piece async for piece in outcome.stream])
        trailers = outcome.stream.trailers
    assert body == (b"" if reply is EMPTY else b"hello")
    assert trailers == (((b"X", b"y"),) if reply is CHUNKED else ())
    assert upstream.stats.idle == 1


async def test_the_answer_to_head_is_never_streamed(upstream: Upstream, tool: StartTool) -> None:
    """It has no body, whatever its type and length say."""
    _, origin = await tool(replies(EVENTS.removesuffix(b"hello")))
    outcome = await upstream(request(origin, b"HEAD", keep_bytes_max=1))
    assert isinstance(outcome, Replied)
    assert (outcome.stream, outcome.framing) == (None, "none")


async def test_a_reply_is_streamed_as_soon_as_its_head_is_in(upstream: Upstream, tool: StartTool) -> None:
    """With nothing to keep, and with a Content-Length that says at once that it will not fit."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        for _ in range(2):
            await wire.request()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            await go.wait()
            await wire.send(b"hello")
            go.clear()

    _, origin = await tool(script)
    for keep in (0, 4):
        outcome = await upstream(request(origin, keep_bytes_max=keep))
        assert isinstance(outcome, Replied)
        assert outcome.body == b""
        assert outcome.stream is not None
        go.set()
        assert [piece async for piece in outcome.stream] == [b"hello"]
    assert upstream.stats.dials == 1


async def test_a_reply_that_grows_past_the_limit_is_streamed_from_its_first_byte(
    upstream: Upstream, tool: StartTool
) -> None:
    """What was gathered until then comes first, and the rest follows as it is produced."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await wire.send(b"400\r\n" + b"x" * 0x400 + b"\r\n")
        await go.wait()
        await wire.send(b"3\r\nend\r\n0\r\n\r\n")
        await wire.hung_up()

    _, origin = await tool(script)
    outcome = await upstream(request(origin, keep_bytes_max=2500))
    assert isinstance(outcome, Replied)
    assert outcome.stream is not None
    go.set()
    rest = b"".join([piece async for piece in outcome.stream])
    assert outcome.body + rest == b"x" * 0xC00 + b"end"
    assert len(outcome.body) > 2500
