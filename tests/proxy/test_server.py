"""Connections of callers: how long they may take, what closes them, what an error of ours looks like from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from proxy.log import Log
from proxy.server import Server
from tests.proxy.callers import call
from tests.proxy.door import Door, door
from tests.proxy.tools import Tool

pytestmark = [pytest.mark.loops("asyncio", "uvloop")]


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch, policies: Path, tool: Tool) -> AsyncIterator[Door]:
    """A data port that waits 150 ms for heads."""
    monkeypatch.setattr("proxy.server.HEADER_S", 0.15)
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
    """A kept-alive connection is kept for as long as a head may take."""
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

    async def fails(request: web.BaseRequest) -> web.StreamResponse:
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
