"""Callers that do not take what is written to them: waited for while they take something, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from proxy.answer import Answer
from proxy.inbound import connection
from proxy.inbound.request import Request
from proxy.inbound.server import Server
from proxy.log import Log
from proxy.response import AnswerWriter
from tests.proxy.virtual import in_virtual_time

pytestmark = pytest.mark.loops("asyncio", "uvloop")

HUGE = b"x" * 20_000_000
ASKED = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


class Endless:
    """A tool's stream that goes on until nobody wants it any more."""

    trailers = ()

    def __init__(self) -> None:
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    def close(self) -> None:
        """Note it."""
        self.closed = True


class House:
    """Answers with more than any buffer takes: `/whole`, as a stream for `/endless`, and for `/cut` in an answer behind
    a part of which the connection is closed."""

    def __init__(self, log: Log) -> None:
        self.server = Server(self.serve, log)
        self.stream = Endless()

    async def serve(self, request: Request) -> None:
        """Answer."""
        given = Answer(200, b"", (), HUGE, "read")
        if request.path == "/endless":
            given = Answer(200, b"", (), b"", "read", stream=self.stream)
        writer = AnswerWriter(request, given)
        if request.path == "/cut":
            writer.send_whole()
            assert request.caller.transport is not None
            request.caller.transport.close()
            raise ConnectionResetError
        await writer.send()

    async def emptied(self) -> None:
        """Return when no connection is left."""
        async with asyncio.timeout(10):
            while self.server._connections:
                await self.server._change()


Ask = Callable[[bytes], "Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]"]


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[House, Ask]]:
    """A house that waits for a tenth of a second, and how to ask for something and take no more than the head."""
    monkeypatch.setattr(connection, "TAKE_S", 0.1)
    with (tmp_path / "log").open("wb") as sink:
        house = House(Log(sink.fileno()))
        listener = await asyncio.get_running_loop().create_server(house.server, "127.0.0.1", 0)
        writers: list[asyncio.StreamWriter] = []

        async def ask(name: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            writers.append(writer)
            writer.write(ASKED % name)
            await reader.readuntil(b"\r\n\r\n")
            return reader, writer

        yield house, ask
        for writer in writers:
            writer.close()
        listener.close()
        await house.server.shutdown(1)


@pytest.mark.parametrize("then", ["stays", "ends its side"])
@pytest.mark.parametrize("name", [b"whole", b"endless"])
async def test_answer_that_is_not_taken_while_it_is_written_ends_the_connection(
    house: tuple[House, Ask], name: bytes, then: str
) -> None:
    """Nobody holds a request, its answer and the tool's connection for ever by not reading; nor by hanging up half."""
    inside, ask = house
    _, writer = await ask(name)
    if then == "ends its side":
        writer.write_eof()
    await inside.emptied()
    assert inside.stream.closed is (name == b"endless")


async def test_answer_that_was_cut_and_is_not_taken_ends_the_connection(house: tuple[House, Ask]) -> None:
    """Whoever closed it, a connection that is closing has its time."""
    inside, ask = house
    await ask(b"cut")
    await inside.emptied()


async def test_caller_that_has_hung_up_is_not_waited_for_at_the_end(
    house: tuple[House, Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ended its side waits for no answer, whatever of one it has not taken: no drain stands still for it."""
    monkeypatch.setattr(connection, "TAKE_S", 60.0)
    inside, ask = house
    _, writer = await ask(b"whole")
    inside.server.drain()
    finished = asyncio.ensure_future(inside.server.finished())
    await asyncio.sleep(0)
    assert not finished.done()
    writer.write_eof()
    async with asyncio.timeout(10):
        await finished


class Slow(asyncio.Transport):
    """A caller's end that takes as much as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 100_000
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        """Return what has not been taken."""
        return self.left

    def is_closing(self) -> bool:
        """Say whether it was hung up on."""
        return self.aborted

    def abort(self) -> None:
        """Note it."""
        self.aborted = True


@in_virtual_time
async def test_caller_that_is_slow_is_not_taken_for_one_that_takes_nothing(tmp_path: Path) -> None:
    """As long as it takes something within a minute it may take its time, and it has all of it anew once it is behind
    again."""
    line, never = Slow(), asyncio.Event()

    async def handle(request: Request) -> None:
        await never.wait()

    with (tmp_path / "log").open("wb") as sink:
        caller = Server(handle, Log(sink.fileno()))()
    caller.connection_made(line)
    caller.data_received(ASKED % b"")
    caller.pause_writing()
    for _ in range(10):
        await asyncio.sleep(connection.TAKE_S / 2)
        line.left -= 1
    caller.resume_writing()
    await asyncio.sleep(10 * connection.TAKE_S)
    caller.pause_writing()
    await asyncio.sleep(connection.TAKE_S - 1)
    assert not line.aborted
    await asyncio.sleep(2)
    assert line.aborted
