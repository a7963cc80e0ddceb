"""One exchange over HTTP: once, bounded, and told apart by whether anything can have been read. On raw sockets: the
client's own test tools switch off what is to be shown here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from coordinator import exchange as exchanges
from coordinator.exchange import AioExchange, Lost, NotSent, Replied
from evaluation.address import unused_address
from tests.coordinator.raw_server import HANGS, RESETS, http, raw_server
from tests.proxy.house import unaccepting

OK = http("200 OK", b"{}")


@pytest.fixture
async def exchange() -> AsyncIterator[AioExchange]:
    """A client of its own for each test."""
    made = AioExchange(8)
    yield made
    await made.close()


async def sent(
    exchange: AioExchange, url: str, method: str = "GET", body: bytes | None = None, *, within_s: float = 20.0,
    keep: int = 1_000,
) -> Replied | NotSent | Lost:  # fmt: skip
    """Send one request."""
    return await exchange.send(method, url, {"X-A": "b"}, body, within_s=within_s, keep_bytes_max=keep)


@pytest.mark.loops("asyncio", "uvloop")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("answer", [b"", RESETS, b"HTTP/1.1 200", b"\x00\x01nonsense\r\n\r\n"])
async def test_request_that_was_read_and_not_answered_is_lost_and_never_sent_again(
    exchange: AioExchange, method: str, answer: bytes
) -> None:
    """The client would send all but a POST once more by itself; it does not."""
    async with raw_server(answer) as raw:
        assert isinstance(await sent(exchange, raw.url, method), Lost)
    assert len(raw.requests) == 1


@pytest.mark.loops("asyncio", "uvloop")
async def test_kept_connection_that_was_closed_meanwhile_loses_the_request_and_sends_no_other(
    exchange: AioExchange,
) -> None:
    """The second request goes out on the first one's connection, which ends under it: it may have been read."""
    async with raw_server(OK, RESETS, keeps=True) as raw:
        assert isinstance(await sent(exchange, raw.url), Replied)
        assert isinstance(await sent(exchange, raw.url), Lost)
        assert (len(raw.requests), raw.connections) == (2, 1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://does-not-exist.invalid/", "http:///nowhere"])
async def test_server_that_is_not_there_was_sent_nothing(exchange: AioExchange, url: str) -> None:
    """Refused, no such name, no name at all: provably."""
    assert isinstance(await sent(exchange, url.format(port=unused_address().port), "POST", b"x"), NotSent)


async def test_connection_that_is_not_made_in_time_was_sent_nothing(
    exchange: AioExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener whose queue is full answers no SYN."""
    monkeypatch.setattr(exchanges, "CONNECT_S", 0.2)
    with unaccepting() as port:
        assert isinstance(await sent(exchange, f"http://127.0.0.1:{port}/", "POST", b"x"), NotSent)


async def test_certificate_that_nobody_trusts_was_sent_nothing(exchange: AioExchange) -> None:
    """TLS failed before the request; with the right authority it goes through."""
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(ours)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=theirs)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    trusting = AioExchange(8, ours)
    assert isinstance(await sent(exchange, url), NotSent)
    assert isinstance(await sent(trusting, url), Replied)
    await trusting.close()
    server.close()


async def test_answer_that_does_not_come_in_time_is_lost(exchange: AioExchange) -> None:
    """Not a moment later than was agreed, whether nothing comes or not all of it."""
    for answer in (HANGS, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"):
        async with raw_server(answer, keeps=True) as raw, asyncio.timeout(10):
            told = await sent(exchange, raw.url, within_s=0.1)
            assert isinstance(told, Lost)
            assert "0.1 s" in told.why


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        http("200 OK", b"{}", framed=False),
    ],
    ids=["length", "chunks", "chunk", "close"],
)
async def test_answer_that_was_cut_or_might_have_been_is_lost(exchange: AioExchange, answer: bytes) -> None:
    """A body whose end is not marked looks whole when it was cut."""
    async with raw_server(answer) as raw:
        assert isinstance(await sent(exchange, raw.url), Lost)


async def test_redirect_cookie_and_compression_are_left_as_they_are(
    exchange: AioExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request for each, to where it was addressed, whatever the environment says, and not a byte rewritten."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    there = http("302 Found", b"\x1f\x8b", "Location: /b", "Set-Cookie: a=b", "Content-Encoding: gzip")
    async with raw_server(there, OK, keeps=True) as raw:
        told = await sent(exchange, f"{raw.url}/a%2Fb/%41?x=%2f")
        assert isinstance(told, Replied)
        assert (told.status, told.body) == (302, b"\x1f\x8b")
        await sent(exchange, raw.url)
        first, second = raw.requests
    assert first.startswith(b"GET /a%2Fb/%41?x=%2f HTTP/1.1\r\n")
    assert b"\r\nX-A: b\r\n" in first
    assert b"\r\nAccept-Encoding: identity\r\n" in first
    assert b"cookie" not in second.lower()


async def test_body_that_is_larger_than_wanted_is_told_by_size_and_digest(
    exchange: AioExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read on to be told of, and not kept; and not read for ever."""
    body = b"x" * 300_000
    async with raw_server(http("200 OK", body), keeps=True) as raw:
        told = await sent(exchange, raw.url, keep=300_000)
        assert isinstance(told, Replied)
        assert (told.kept, told.body) == (True, body)
        told = await sent(exchange, raw.url, keep=299_999)
        assert isinstance(told, Replied)
        assert (told.kept, told.whole, told.body, told.body_bytes) == (False, True, b"", 300_000)
        assert told.sha256 == hashlib.sha256(body).hexdigest()
        monkeypatch.setattr(exchanges, "HASHED_BYTES_MAX", 100_000)
        told = await sent(exchange, raw.url, keep=10)
        assert isinstance(told, Replied)
        assert not told.whole
        assert 100_000 < told.body_bytes < 300_000


async def test_requests_beyond_the_bound_wait_for_their_turn() -> None:
    """No more connections than were allowed, and everybody is answered."""
    exchange = AioExchange(2)
    async with raw_server(OK, keeps=True) as raw:
        told = await asyncio.gather(*[sent(exchange, raw.url) for _ in range(10)])
        assert all(isinstance(one, Replied) for one in told)
        assert raw.connections <= 2
    await exchange.close()


async def test_cancelled_request_hangs_up(exchange: AioExchange) -> None:
    """Who is not waited for any longer sees the connection end."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.set()
        assert await reader.read() == b""
        ended.set()
        writer.close()

    came = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asking = asyncio.ensure_future(sent(exchange, f"http://127.0.0.1:{port}/"))
    await came.wait()
    asking.cancel()
    await ended.wait()
    assert asking.cancelled()
    server.close()
