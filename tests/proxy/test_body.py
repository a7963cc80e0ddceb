"""Request bodies: whole within a limit and a time, and nothing claimed before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.proxy.callers import call, request
from tests.proxy.door import Door, door
from tests.proxy.house import policy, policy_folder
from tests.proxy.tools import Tool

pytestmark = [pytest.mark.loops("asyncio", "uvloop"), pytest.mark.fault(12)]


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: Tool) -> AsyncIterator[Door]:
    """A data port that waits 150 ms for bodies."""
    monkeypatch.setattr("proxy.body.BODY_S", 0.15)
    monkeypatch.setattr("proxy.inbound.connection.LINGER_S", 0.05)
    read = policy("search", "effect: read", "match: {path: /tools/search, method: POST}")
    async with door(policy_folder(tmp_path / "several", policy("act") + read), tool.url) as running:
        yield running


@pytest.mark.parametrize("framing", [("Content-Length", "9"), ("Transfer-Encoding", "chunked")])
@pytest.mark.parametrize("sent", [b"", b"4\r\n{"])
async def test_body_that_is_not_whole_in_time_is_refused_and_nothing_is_claimed(
    opened: Door, tool: Tool, framing: tuple[str, str], sent: bytes
) -> None:
    """408, the connection closed, and the key as free as before."""
    reader, writer = await opened.connect()
    writer.write(call("r", framing, body=b"") + sent)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in head
    assert json.loads(body)["type"] == "urn:holdfast:problem:body-timeout"
    assert opened.counted("holdfast_store_duration_seconds_count", op="claim") == 0
    assert not tool.executions("r")


async def test_body_that_dribbles_is_bounded_in_all(opened: Door, tool: Tool) -> None:
    """The time is for the whole body: a byte now and then does not buy more of it."""
    reader, writer = await opened.connect()
    writer.write(call("r", ("Content-Length", "1000"), body=b""))
    answering = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
    while not answering.done():
        writer.write(b"x")
        await asyncio.sleep(0.02)
    assert (await answering).startswith(b"HTTP/1.1 408 ")
    writer.close()
    assert not tool.executions("r")


async def test_upload_of_a_read_that_stops_is_not_waited_for(opened: Door, tool: Tool) -> None:
    """What is streamed through is bounded from piece to piece; its caller is told, or hung up on."""
    reader, writer = await opened.connect()
    writer.write(call("r", ("Content-Length", "9"), tool="search", body=b"") + b"half")
    answer = await reader.read()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 502 ")
    writer.close()


async def test_caller_that_hangs_up_in_its_body_claims_nothing(opened: Door, tool: Tool) -> None:
    """Half a request is none."""
    reader, writer = await opened.connect()
    writer.write(call("r", ("Content-Length", "9"), body=b"") + b"half")
    await asyncio.sleep(0)
    writer.close()
    assert await reader.read() == b""
    other, writer = await opened.connect()
    writer.write(request("/tools/act", ("X-Run-Id", "r"), ("X-Tool-Call-Id", "call-1"), body=b"other"))
    assert b"Holdfast-Outcome: executed" in await other.readuntil(b"\r\n\r\n")
    writer.close()
    assert len(tool.executions("r")) == 1
