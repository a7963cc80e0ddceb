"""Connections of callers: how long they may take, what closes them, what an error of ours looks like from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy import answer
from proxy.inbound.request import Request
from proxy.inbound.server import Server
from proxy.log import Log
from proxy.problems import Kind
from proxy.response import AnswerWriter
from tests.proxy.callers import call
from tests.proxy.door import Door, door
from tests.proxy.tools import Tool

pytestmark = [pytest.mark.loops("asyncio", "uvloop")]


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch, policies: Path, tool: Tool) -> AsyncIterator[Door]:
    """A data port that waits 150 ms for heads, and as long for the next request."""
    monkeypatch.setattr("proxy.inbound.connection.KEEP_ALIVE_S", 0.15)
    monkeypatch.setattr("proxy.inbound.connection.HEADER_S", 0.15)
    async with door(policies, tool.url) as running:
        yield running


@pytest.mark.fault(12)
@pytest.mark.parametrize("sent", [b"", b"P", b"POST /tools/act HTTP/1.1\r\nHost: a\r\nX-Run-Id: r\r\n"])
async def test_head_that_is_not_whole_in_time_ends_the_connection(opened: Door, sent: bytes) -> None:
    """A caller that never finishes its head, or never begins it, is hung up on."""
    reader, writer = await opened.connect()
    writer.write(sent)
    assert await reader.read() == b""
    writer.close()
    assert not opened.works.joints


@pytest.mark.fault(12)
@pytest.mark.parametrize("sent", [b"", call("r", call="next")[:50]])
async def test_connection_that_idles_between_requests_is_closed(opened: Door, sent: bytes) -> None:
    """A kept-alive connection is kept for its time, and a head that has begun for its own."""
    reader, writer = await opened.connect()
    writer.write(call("r"))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    await reader.readexactly(len(b'{"ticket":1}') - 1)
    writer.write(sent)
    rest = await reader.read()
    assert len(rest) <= 8  # what was left of the body, and nothing else
    writer.close()


async def test_slow_tool_does_not_make_its_caller_look_idle(opened: Door, tool: Tool) -> None:
    """While a request is being served, its connection is not idle, however long the tool takes."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(wire: object, execution: object) -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
        wire.reply(b"done")  # type: ignore[attr-defined]  # a Wire

    reader, writer = await opened.connect()
    writer.write(call("r", script=tool.script(slow)))
    await asyncio.sleep(0.4)  # longer than a head may take: this is the time that the test is about
    release.set()
    assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_head_larger_than_the_limits_is_refused(opened: Door) -> None:
    """Lines, fields and their number are bounded; what is beyond gets a 400 and the end of the connection."""
    for data in (
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Large: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n",
    ):
        reader, writer = await opened.connect()
        writer.write(data)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_handler_that_fails_is_told_without_its_reason(tmp_path: Path) -> None:
    """A fault of ours is a 500 problem document that closes the connection; the log says where, nobody else does."""

    async def fails(request: Request) -> None:
        raise KeyError("a secret")

    with (tmp_path / "log").open("wb") as sink:
        log = Log(sink.fileno())
        server = Server(fails, log)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        listener.close()
        await server.shutdown(1)
        log.flush()
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"Connection: close" in head
    assert json.loads(body)["type"] == "urn:holdfast:problem:internal"
    line = json.loads((tmp_path / "log").read_text())
    assert (line["event"], line["error"]) == ("request.failed", "KeyError")
    assert "test_server" not in head.decode()
    assert "secret" not in body.decode() + str(line)


Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened_on(server: Server, count: int) -> tuple[asyncio.Server, list[Connected]]:
    """Return a listener, and so many connections to it that have asked for `/0`, `/1` and so on."""
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    connected = [await asyncio.open_connection(*listener.sockets[0].getsockname()) for _ in range(count)]
    for number, (_, writer) in enumerate(connected):
        writer.write(f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return listener, connected


class Slow:
    """Answers the first request at once, and each other one when it may."""

    def __init__(self) -> None:
        self.may: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []
        self._began = asyncio.Condition()

    async def serve(self, request: Request) -> None:
        """Wait, and answer."""
        async with self._began:
            may = self.may[request.target] = asyncio.Event()
            self._began.notify_all()
        try:
            if request.target != "/0":
                await may.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.target)
            raise
        await AnswerWriter(request, answer.refusal(Kind.NOT_FOUND, "no")).send()

    async def reached(self, count: int) -> None:
        """Return when so many requests are being served."""
        async with self._began:
            await self._began.wait_for(lambda: len(self.may) == count)


async def test_drain_ends_idle_connections_at_once_and_the_others_after_their_answer(tmp_path: Path) -> None:
    """Nobody who waits for an answer goes without, and nobody is waited for who does not."""
    slow = Slow()
    with (tmp_path / "log").open("wb") as sink:
        server = Server(slow.serve, Log(sink.fileno()))
        listener, connected = await opened_on(server, 4)
        idle, first, second, third = (reader for reader, _ in connected)
        await slow.reached(4)
        assert b"Connection" not in await idle.readuntil(b"\r\n\r\n")
        server.drain()
        await idle.read()
        finished = asyncio.ensure_future(server.finished())
        slow.may["/1"].set()
        got = await first.read()
        assert b"\r\nConnection: close\r\n" in got
        await asyncio.sleep(0)
        assert not finished.done()
        connected[2][1].transport.abort()  # whoever has hung up is not waited for
        slow.may["/3"].set()
        await finished
        assert b"\r\nConnection: close\r\n" in await third.read()
        await second.read()
        for _, writer in connected:
            writer.close()
        listener.close()
        await server.shutdown(0.1)
    assert slow.cancelled == ["/2"]


async def test_shutdown_cuts_off_whoever_is_left_after_its_time(tmp_path: Path) -> None:
    """Handlers are cancelled, connections closed, and none is left behind."""
    slow = Slow()
    with (tmp_path / "log").open("wb") as sink:
        server = Server(slow.serve, Log(sink.fileno()))
        listener, connected = await opened_on(server, 3)
        await slow.reached(3)
        listener.close()
        await server.shutdown(0.05)
        for reader, writer in connected:
            with contextlib.suppress(ConnectionResetError):
                assert (await reader.read() == b"") is (reader is not connected[0][0])
            writer.close()
    assert sorted(slow.cancelled) == ["/1", "/2"]


async def test_refusals_of_what_is_no_request_are_told(tmp_path: Path) -> None:
    """They are counted by whoever counts answers, and answered as problem documents like all others."""
    told: list[answer.Answer] = []
    with (tmp_path / "log").open("wb") as sink:
        server = Server(Slow().serve, Log(sink.fileno()), told.append)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        listener.close()
        await server.shutdown(1)
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"Connection: close" in head
    assert json.loads(body)["type"] == "urn:holdfast:problem:bad-request"
    assert [given.status for given in told] == [405]
