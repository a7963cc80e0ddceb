"""Writing answers: framing by the caller's version, as few writes as it takes, and cuts that look like cuts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from proxy import answer
from proxy.answer import Answer
from proxy.forward import Headers, Truncated
from proxy.inbound.head import read_head
from proxy.inbound.request import Request
from proxy.inbound.server import Server
from proxy.log import Log
from proxy.problems import Kind
from proxy.response import AnswerWriter

pytestmark = pytest.mark.loops("asyncio", "uvloop")


class Pieces:
    """A reply stream of a test's own; `cut` ends it early, `hold` keeps it from ending until it is closed."""

    def __init__(self, *pieces: bytes, trailers: Headers = (), cut: bool = False, hold: bool = False) -> None:
        self.trailers = trailers
        self.begun, self.closed = asyncio.Event(), asyncio.Event()
        self._pieces, self._cut, self._hold = pieces, cut, hold

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun.set()
        for piece in self._pieces:
            yield piece
        if self._hold:
            await self.closed.wait()
        if self._cut or self._hold:
            raise Truncated("cut")

    def close(self) -> None:
        """Note it."""
        self.closed.set()


Ask = Callable[..., "asyncio.Future[bytes]"]


@pytest.fixture
async def sent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ask]:
    """Send a request to a server that gives one answer; return everything that comes back until the connection ends."""
    given: list[Answer] = []

    async def handle(request: Request) -> None:
        await AnswerWriter(request, given[-1]).send()

    with (tmp_path_factory.mktemp("log") / "log").open("wb") as sink:
        server = Server(handle, Log(sink.fileno()))
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)

        async def exchange(
            answered: Answer, method: str = "GET", version: str = "1.1", connection: str = "close"
        ) -> bytes:
            given.append(answered)
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            writer.write(f"{method} / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\n\r\n".encode())
            try:
                return await reader.read()
            except ConnectionResetError:
                return b"reset"
            finally:
                writer.close()

        yield lambda *args, **more: asyncio.ensure_future(exchange(*args, **more))
        listener.close()
        await server.shutdown(1)


def plain(body: bytes = b"body", status: int = 200, headers: Headers = (), **more: object) -> Answer:
    """Return an answer."""
    made = Answer(status, b"", headers, body, "executed")
    for name, value in more.items():
        setattr(made, name, value)
    return made


async def test_answer_without_a_length_gets_one(sent: Ask) -> None:
    """A whole body is framed by its length, with nothing else added but the connection's end."""
    assert await sent(plain(headers=((b"X-a", b"1"),))) == (
        b"HTTP/1.1 200 OK\r\nX-a: 1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
    )


async def test_tools_own_length_and_reason_stand(sent: Ask) -> None:
    """What the tool said about its body is not said again, and its reason is not ours."""
    made = plain(headers=((b"CONTENT-length", b"4"),), reason=b"Fine By Me")
    assert (await sent(made)).startswith(
        b"HTTP/1.1 200 Fine By Me\r\nCONTENT-length: 4\r\nConnection: close\r\n\r\nbody"
    )


async def test_unknown_status_has_an_empty_reason(sent: Ask) -> None:
    """A status without a name is sent without one (RFC 9112, 4)."""
    assert (await sent(plain(status=299))).startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_answer_that_has_no_body_is_sent_without_one(sent: Ask, method: str, status: int) -> None:
    """Neither body nor a length of ours, whatever the answer holds."""
    got = await sent(plain(status=status), method=method)
    assert got.endswith(b"\r\n\r\n")
    assert b"ength" not in got


async def test_stream_without_a_length_is_chunked_with_its_trailers(sent: Ask) -> None:
    """What came with the head, the pieces as they come, the trailers, the end."""
    pieces = Pieces(b"more", b"", b"!", trailers=((b"X-Sum", b"1"),))
    got = await sent(plain(b"first", stream=pieces))
    assert got.endswith(b"\r\n\r\n5\r\nfirst\r\n4\r\nmore\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in got
    assert pieces.closed.is_set()


async def test_whole_answer_with_trailers_is_chunked_for_their_sake(sent: Ask) -> None:
    """Trailers have no place but behind chunks; an old caller goes without."""
    made = plain(trailers=((b"X-Sum", b"1"),))
    assert (await sent(made)).endswith(b"chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert (await sent(made, version="1.0")).endswith(b"Content-Length: 4\r\nConnection: close\r\n\r\nbody")
    assert (await sent(plain(b"", trailers=((b"X-Sum", b"1"),)))).endswith(b"\r\n\r\n0\r\nX-Sum: 1\r\n\r\n")


async def test_stream_with_a_length_keeps_it(sent: Ask) -> None:
    """A known length frames the stream; nothing is chunked."""
    got = await sent(plain(b"ab", headers=((b"Content-Length", b"4"),), stream=Pieces(b"cd")))
    assert got.endswith(b"Content-Length: 4\r\nConnection: close\r\n\r\nabcd")


async def test_stream_to_an_old_caller_ends_with_its_connection(sent: Ask) -> None:
    """HTTP/1.0 knows no chunks: the connection's end is the body's, even where the caller would have kept it."""
    got = await sent(plain(b"ab", stream=Pieces(b"cd")), version="1.0", connection="keep-alive")
    assert got.endswith(b"Connection: close\r\n\r\nabcd")


@pytest.mark.parametrize("headers", [(), ((b"Content-Length", b"9"),)], ids=["chunked", "length"])
async def test_cut_stream_is_cut_for_the_caller(sent: Ask, headers: Headers) -> None:
    """No end is written where there was none."""
    pieces = Pieces(b"half", cut=True)
    got = await sent(plain(b"", headers=headers, stream=pieces), connection="keep-alive")
    assert not got.endswith(b"0\r\n\r\n")
    assert got.count(b"HTTP/1.1") <= 1
    assert pieces.closed.is_set()


async def test_large_body_arrives_whole(sent: Ask) -> None:
    """Beyond what is joined to the head, the body follows it."""
    body = bytes(range(256)) * 4_096
    assert (await sent(plain(body))).endswith(b"\r\n\r\n" + body)


async def test_caller_that_goes_during_a_quiet_stream_closes_it(sent: Ask) -> None:
    """The stream is told at once that nobody reads it any more."""
    pieces = Pieces(b"first", hold=True)
    asking = sent(plain(b"", stream=pieces))
    await pieces.begun.wait()
    asking.cancel()
    await pieces.closed.wait()
    await asyncio.gather(asking, return_exceptions=True)


async def test_answer_to_a_caller_that_has_gone_is_not_written() -> None:
    """It raises, and hangs up on the tool."""

    class Gone:
        transport = None

    loop = asyncio.get_running_loop()
    request = Request(cast("Any", Gone()), loop, read_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    pieces = Pieces(b"x", hold=True)
    with pytest.raises(ConnectionResetError):
        await AnswerWriter(request, plain(stream=pieces)).send()
    assert pieces.closed.is_set()


async def test_refusal_says_whether_the_connection_stays(sent: Ask) -> None:
    """A refusal that closes says so, and does."""
    refused = answer.refusal(Kind.TOO_LARGE, "too much", close=True)
    got = await sent(refused, connection="keep-alive")
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in got
