"""Being told that a caller has hung up: once, at once, and only while somebody wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.hang_up import on_hang_up, until_hang_up
from proxy.inbound.request import Request
from proxy.inbound.server import Server
from proxy.log import Log

pytestmark = pytest.mark.loops("asyncio", "uvloop")


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[tuple[Request, asyncio.StreamWriter]]:
    """A request whose handler goes on until the test is over, and its caller's end of the connection."""
    came: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def handle(request: Request) -> None:
        came.set_result(request)
        await over.wait()
        raise ConnectionResetError

    with (tmp_path / "log").open("wb") as sink:
        server = Server(handle, Log(sink.fileno()))
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        yield await came, writer
        over.set()
        writer.close()
        listener.close()
        await server.shutdown(1)


async def test_callback_comes_when_the_connection_ends(
    asked: tuple[Request, asyncio.StreamWriter],
) -> None:
    """Nobody has to write to find out."""
    request, caller = asked
    gone = asyncio.Event()
    with on_hang_up(request, gone.set):
        assert not gone.is_set()
        caller.close()
        await gone.wait()


async def test_callback_comes_at_once_where_the_connection_has_ended(
    asked: tuple[Request, asyncio.StreamWriter],
) -> None:
    """Whoever asks too late is told just the same."""
    request, caller = asked
    first, second = asyncio.Event(), asyncio.Event()
    with on_hang_up(request, first.set):
        caller.close()
        await first.wait()
    with on_hang_up(request, second.set):
        assert second.is_set()


async def test_nobody_is_called_who_does_not_want_to_know_any_more(
    asked: tuple[Request, asyncio.StreamWriter],
) -> None:
    """Outside of the context the connection's end is nobody's business."""
    request, caller = asked
    early, late = asyncio.Event(), asyncio.Event()
    with on_hang_up(request, early.set):
        pass
    with on_hang_up(request, late.set):
        caller.close()
        await late.wait()
    assert not early.is_set()


async def test_hang_up_ends_the_time_that_is_allowed(asked: tuple[Request, asyncio.StreamWriter]) -> None:
    """Whoever waits for the tool stops waiting when nobody waits for them."""
    request, caller = asked

    async def wait() -> None:
        async with asyncio.timeout(60) as limit:
            with until_hang_up(request, limit):
                caller.close()
                await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await wait()


async def test_hang_up_at_the_very_end_of_that_time_is_no_fault(asked: tuple[Request, asyncio.StreamWriter]) -> None:
    """Both may be noticed within one turn of the loop: a limit that is over cannot be moved any more, and whoever tells
    of the hang-up has more to do."""
    request, _ = asked
    loop = asyncio.get_running_loop()

    async def wait() -> None:
        async with asyncio.timeout(60) as limit:
            with until_hang_up(request, limit):
                limit.reschedule(loop.time())
                try:
                    await loop.create_future()
                finally:
                    assert limit.expired()
                    assert request.caller.on_lost is not None
                    request.caller.on_lost()

    with pytest.raises(TimeoutError):
        await wait()
