"""One request on one connection, and everything that can go wrong with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from proxy.forward import Headers, Lost, NotSent, Origin, Replied
from proxy.upstream.connection import JOIN_BYTES_MAX, Connection
from proxy.upstream.idle import IDLE_S_MAX
from proxy.upstream.pool import Upstream
from tests.proxy.upstream.conftest import StartTool
from tests.proxy.upstream.hostile import OK, Wire, ends_after, replies, request, until

pytestmark = pytest.mark.loops("asyncio", "uvloop")

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nDigest: x\r\n\r\n"


@pytest.mark.fault(20)
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"POST"])
async def test_a_tool_that_hangs_up_is_asked_once(
    upstream: Upstream, tool: StartTool, method: bytes, *, reset: bool
) -> None:
    """Whatever the method, on a fresh connection and on an idle one: the request is seen once, and it is lost."""

    async def answers_once(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await ends_after(b"", reset=reset)(wire)

    hostile, origin = await tool(ends_after(b"", reset=reset), answers_once)
    assert isinstance(await upstream(request(origin, method, b"/fresh")), Lost)
    assert isinstance(await upstream(request(origin, method, b"/first")), Replied)
    assert isinstance(await upstream(request(origin, method, b"/idle")), Lost)
    assert [seen.split(b" ", 2)[1] for seen in hostile.seen] == [b"/fresh", b"/first", b"/idle"]
    assert hostile.connections == 2


@pytest.mark.fault(20, 23)
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("reply", [OK, CHUNKED, b"HTTP/1.1 103 Early\r\n\r\n" + OK])
async def test_a_reply_that_ends_after_any_byte_is_lost_unless_it_is_whole(
    upstream: Upstream, tool: StartTool, reply: bytes, *, reset: bool
) -> None:
    """Closed or reset: every offset of the reply but the last makes it lost, kept as well as streamed."""
    hostile, origin = await tool(*(ends_after(reply[:cut], reset=reset) for cut in range(len(reply))), replies(reply))
    for _ in range(len(reply)):
        assert isinstance(await upstream(request(origin)), Lost)
    whole = await upstream(request(origin))
    assert isinstance(whole, Replied)
    assert whole.body == b"ok"
    assert len(hostile.seen) == len(reply) + 1


@pytest.mark.fault(20)
async def test_a_connection_that_is_reset_on_accept_is_never_replied(upstream: Upstream, tool: StartTool) -> None:
    """Noticed before the first byte it is not sent, after it lost; either is true, and nothing else is."""

    async def script(wire: Wire) -> None:
        wire.reset()

    hostile, origin = await tool(script)
    for _ in range(10):
        sent: list[bool] = []
        outcome = await upstream(request(origin), on_sent=lambda sent=sent: sent.append(True))  # type: ignore[misc]
        assert isinstance(outcome, Lost if sent else NotSent)
    assert not hostile.seen


async def test_on_sent_is_called_once_before_the_first_byte(upstream: Upstream, tool: StartTool) -> None:
    """What is noted there stands before the tool can have acted."""
    hostile, origin = await tool(replies(OK, OK))
    for calls in (1, 2):
        seen_then: list[int] = []
        await upstream(request(origin), on_sent=lambda seen=seen_then: seen.append(len(hostile.seen)))  # type: ignore[misc]
        assert seen_then == [calls - 1]


async def test_an_on_sent_that_raises_stops_the_request(upstream: Upstream, tool: StartTool) -> None:
    """Nothing is written, the connection is dropped, and the exception is the caller's."""
    hostile, origin = await tool(replies(OK))

    def refuse() -> None:
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError, match="not now"):
        await upstream(request(origin), on_sent=refuse)
    await until(lambda: upstream.stats.open == 0)
    assert not hostile.seen


async def test_a_transport_that_dies_as_we_write_is_lost(upstream: Upstream, tool: StartTool) -> None:
    """uvloop raises `RuntimeError: handler is closed`, which is no OSError; asyncio tells later. Lost either way."""
    _, origin = await tool(replies(OK, OK))
    await upstream(request(origin))
    (connection,) = upstream._open

    def die() -> None:
        assert connection._transport is not None
        connection._transport.abort()

    assert isinstance(await upstream(request(origin), on_sent=die), Lost)


class Stub(asyncio.Transport):
    """A transport that notes what it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__({"socket": socket.socket()})
        self.failure = failure
        self.calls: list[str] = []
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes, or fail as uvloop's does once its handle is closed."""
        if self.failure is not None:
            raise self.failure

    def is_closing(self) -> bool:
        """Say what the event loop knows."""
        return self.aborted

    def pause_reading(self) -> None:
        """Stop."""
        self.calls.append("pause")

    def resume_reading(self) -> None:
        """Go on."""
        self.calls.append("resume")

    def get_write_buffer_size(self) -> int:
        """Return zero: everything is on its way."""
        return 0

    def abort(self) -> None:
        """Close."""
        self.aborted = True
        self.get_extra_info("socket").close()


@pytest.fixture
def stub(upstream: Upstream) -> Iterator[Callable[[Stub], Connection]]:
    """Return connections over stubs."""
    made = []

    def over(transport: Stub) -> Connection:
        made.append(transport)
        connection = Connection(Origin("http", "tool", 80), upstream, asyncio.get_running_loop())
        connection.adopt(transport)
        return connection

    yield over
    for transport in made:
        transport.abort()


@pytest.mark.parametrize("failure", [RuntimeError("the handler is closed"), BrokenPipeError()])
async def test_a_write_that_raises_is_lost(stub: Callable[[Stub], Connection], failure: Exception) -> None:
    """What the event loop may have taken by then is beyond knowing."""
    outbound = request(Origin("http", "tool", 80))
    transport = Stub(failure)
    assert isinstance(await stub(transport).send(outbound, b"", None, None), Lost)
    assert transport.aborted


async def test_a_write_to_a_closed_transport_is_lost(stub: Callable[[Stub], Connection]) -> None:
    """asyncio takes bytes for a closed transport and says nothing, ever: nobody waits for that (I4)."""
    transport = Stub()
    connection = stub(transport)
    transport.abort()
    assert isinstance(await connection.send(request(connection.origin), b"", None, None), Lost)


async def test_a_reply_that_ends_while_reading_is_paused_leaves_the_connection_reading(
    stub: Callable[[Stub], Connection],
) -> None:
    """The last bytes filled the stream's buffer: the next reply, or the tool's end, must be seen all the same."""
    transport = Stub()
    connection = stub(transport)
    call = asyncio.create_task(connection.send(request(connection.origin, keep_bytes_max=0), b"", None, None))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
    connection.data_received(b"x" * 80_000)
    assert transport.calls == ["pause"]
    connection.data_received(b"x" * 19_999)
    assert transport.calls == ["pause", "resume"]
    assert isinstance(await call, Replied)


async def test_targets_and_fields_arrive_byte_for_byte(upstream: Upstream, tool: StartTool) -> None:
    """Nothing is decoded, collapsed, reordered or added but the framing."""
    hostile, origin = await tool(replies(OK))
    outbound = request(origin, b"POST", b"/a%2Fb/%41/../x?y=%zz", body=b"{}")
    await upstream(outbound)
    assert hostile.seen == [b"POST /a%2Fb/%41/../x?y=%zz HTTP/1.1\r\nHost: tool\r\nContent-Length: 2\r\n\r\n{}"]


@pytest.mark.parametrize("size", [JOIN_BYTES_MAX, JOIN_BYTES_MAX + 1, 5 << 20])
async def test_a_large_body_arrives_whole(upstream: Upstream, tool: StartTool, size: int) -> None:
    """Joined to its head or not."""
    hostile, origin = await tool(replies(OK, OK))
    for _ in range(2):
        assert isinstance(await upstream(request(origin, b"POST", body=b"x" * size)), Replied)
    assert [len(seen.split(b"\r\n\r\n", 1)[1]) for seen in hostile.seen] == [size, size]
    assert hostile.connections == 1


@pytest.mark.fault(25)
async def test_interim_replies_are_told_and_are_no_outcome(upstream: Upstream, tool: StartTool) -> None:
    """103 is passed on as it comes, 100 is nobody's business, and the final reply is the outcome."""
    told: list[tuple[int, Headers]] = []
    noticed = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await noticed.wait()
        await wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" + OK)
        await wire.hung_up()

    def on_informational(status: int, headers: Headers) -> None:
        told.append((status, headers))
        noticed.set()

    _, origin = await tool(script)
    outcome = await upstream(request(origin), on_informational=on_informational)
    assert isinstance(outcome, Replied)
    assert told == [(103, ((b"Link", b"</a>"),)), (102, ())]
    assert upstream.stats.idle == 1


@pytest.mark.fault(25)
async def test_an_interim_reply_without_an_end_is_lost(upstream: Upstream, tool: StartTool) -> None:
    """A storm of 1xx ends at the limit of header bytes."""

    async def script(wire: Wire) -> None:
        await wire.request()
        while True:
            await wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 10)

    _, origin = await tool(script)
    outcome = await upstream(request(origin))
    assert isinstance(outcome, Lost)
    assert "more than" in outcome.why


@pytest.mark.fault(25)
async def test_a_switch_of_protocols_is_lost(upstream: Upstream, tool: StartTool) -> None:
    """Nobody asked for it, and what comes next is not HTTP."""
    _, origin = await tool(
        replies(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello")
    )
    assert isinstance(await upstream(request(origin)), Lost)
    await until(lambda: upstream.stats.open == 0)


@pytest.mark.fault(27)
async def test_a_redirect_is_a_reply(upstream: Upstream, tool: StartTool) -> None:
    """3xx is passed on, never followed."""
    hostile, origin = await tool(replies(b"HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"))
    outcome = await upstream(request(origin, b"POST", body=b"x"))
    assert isinstance(outcome, Replied)
    assert (outcome.status, outcome.reason, outcome.headers[0]) == (307, b"Go", (b"Location", b"/elsewhere"))
    assert len(hostile.seen) == 1


async def test_the_answer_to_head_does_not_eat_the_next_reply(upstream: Upstream, tool: StartTool) -> None:
    """HEAD's Content-Length announces nothing; the connection goes on with the next request."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    hostile, origin = await tool(replies(head, OK, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", OK))
    outcomes = [await upstream(request(origin, method)) for method in (b"HEAD", b"GET", b"GET", b"GET")]
    told = [(o.status, o.framing, o.body) for o in outcomes if isinstance(o, Replied)]
    assert told == [(200, "none", b""), (200, "length", b"ok"), (304, "none", b""), (200, "length", b"ok")]
    assert hostile.connections == 1


@pytest.mark.fault(28)
@pytest.mark.parametrize("framing", [OK, CHUNKED, b"HTTP/1.1 204 No Content\r\n\r\n"])
async def test_bytes_after_the_reply_poison_nobody(upstream: Upstream, tool: StartTool, framing: bytes) -> None:
    """The reply stands, its connection is dropped, and the next request has a fresh one."""
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    hostile, origin = await tool(replies(framing + poison), replies(OK))
    first = await upstream(request(origin))
    assert isinstance(first, Replied)
    assert first.body in {b"ok", b""}
    assert upstream.stats.idle == 0
    second = await upstream(request(origin))
    assert isinstance(second, Replied)
    assert second.body == b"ok"
    assert hostile.connections == 2


@pytest.mark.fault(28)
async def test_bytes_that_come_while_the_connection_is_idle_drop_it(upstream: Upstream, tool: StartTool) -> None:
    """Nobody asked for them; whoever would be next is not to get them."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await go.wait()
        await wire.send(OK)
        await wire.hung_up()

    _, origin = await tool(script)
    await upstream(request(origin))
    assert upstream.stats.idle == 1
    go.set()
    async with asyncio.timeout(IDLE_S_MAX / 2):  # and not because it was idle for long
        await until(lambda: upstream.stats.open == 0)
    assert upstream.stats.idle == 0


@pytest.mark.fault(29)
async def test_a_malformed_reply_is_lost(upstream: Upstream, tool: StartTool) -> None:
    """It ran; what came of it is not known. The connection is closed at once, not when its tool thinks fit."""
    _, origin = await tool(
        replies(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"),
        replies(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        replies(b"\0" * 100),
        replies(b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 70_000),
    )
    for _ in range(4):
        assert isinstance(await upstream(request(origin)), Lost)
    await until(lambda: upstream.stats.open == 0)


async def test_a_reply_that_asks_to_close_closes(upstream: Upstream, tool: StartTool) -> None:
    """And so does one of HTTP/1.0; both are replies all the same."""
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    _, origin = await tool(replies(closing), replies(OK.replace(b"1.1", b"1.0")))
    for _ in range(2):
        assert isinstance(await upstream(request(origin)), Replied)
    await until(lambda: upstream.stats.open == 0)


@pytest.mark.fault(24)
async def test_a_reply_that_ends_with_its_connection_says_so(upstream: Upstream, tool: StartTool) -> None:
    """`close` framing: a cut looks just like it, so whoever keeps the reply must know. A reset is no end."""
    _, origin = await tool(
        ends_after(b"HTTP/1.1 200 OK\r\n\r\nok"), ends_after(b"HTTP/1.1 200 OK\r\n\r\nok", reset=True)
    )
    outcome = await upstream(request(origin))
    assert isinstance(outcome, Replied)
    assert (outcome.body, outcome.framing) == (b"ok", "close")
    assert isinstance(await upstream(request(origin)), Lost)
    await until(lambda: upstream.stats.open == 0)


async def test_a_compressed_reply_is_not_decoded(upstream: Upstream, tool: StartTool) -> None:
    """gzip, or what calls itself so, goes through byte for byte."""
    _, origin = await tool(replies(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b!!"))
    outcome = await upstream(request(origin))
    assert isinstance(outcome, Replied)
    assert outcome.body == b"\x1f\x8b!!"


async def test_a_reply_before_the_request_is_whole_is_a_reply(upstream: Upstream, tool: StartTool) -> None:
    """413 while we still write, from memory or from an iterator: it stands, and the connection is not used again."""

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await over.wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    over = asyncio.Event()
    _, origin = await tool(script)
    for body in (b"x" * (20 << 20), endless()):
        outcome = await upstream(request(origin, b"POST", body=body))
        assert isinstance(outcome, Replied)
        assert (outcome.status, outcome.body) == (413, b"no")
    await until(lambda: upstream.stats.open == 0)
    over.set()


@pytest.mark.fault(21)
async def test_a_stale_connection_is_not_written_to(upstream: Upstream, tool: StartTool) -> None:
    """An end that lies unread in the kernel is seen before the request goes out: no event loop turn lies between."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        origin = Origin("http", *listening.getsockname())
        for _ in range(2):
            call = asyncio.create_task(upstream(request(origin)))
            accepted, _ = await loop.sock_accept(listening)
            with accepted:
                await loop.sock_recv(accepted, 1000)
                accepted.send(OK)
                assert isinstance(await call, Replied)
    assert upstream.stats.dials == 2
