"""A simulator as a process: it says where it listens, and ends when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal

import aiohttp
import pytest
from aiohttp import web

from evaluation.address import Address, unused_address
from evaluation.serving import Far, serve


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_server_serves_until_it_is_told_to_stop(number: signal.Signals, session: aiohttp.ClientSession) -> None:
    """It is told on which port it listens, answers there, and what it opened is closed in the end."""
    bound: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    closed = []

    async def close(_: web.Application) -> None:
        closed.append(True)

    application = web.Application()
    application.on_cleanup.append(close)
    serving = asyncio.create_task(serve(Address("127.0.0.1", 0), application, bound.set_result))
    async with session.get(f"{(await bound).url}/nothing") as response:
        assert response.status == 404
    os.kill(os.getpid(), number)
    await serving
    assert closed == [True]


async def test_address_that_is_taken_is_an_error() -> None:
    """Nobody is told that it listens."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as taken:
        address = Address(*taken.sockets[0].getsockname())
        with pytest.raises(OSError, match="in use"):
            await serve(address, web.Application(), lambda _: pytest.fail("it does not listen"))


async def test_far_listener_answers_later_and_the_near_one_does_not(session: aiohttp.ClientSession) -> None:
    """A request that comes in far away travels before it is handled and after it; the same server is near, too."""
    near, far = unused_address(), unused_address()
    started: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    handled: list[float] = []

    async def handle(_: web.Request) -> web.Response:
        handled.append(asyncio.get_running_loop().time())
        return web.Response()

    application = web.Application()
    application.router.add_get("/", handle)
    serving = asyncio.create_task(serve(near, application, started.set_result, Far(far, 0.05)))
    await started
    loop = asyncio.get_running_loop()
    begun = loop.time()
    early = 0.005  # a timer may be a little
    async with session.get(f"{far.url}/"):
        assert handled[0] - begun >= 0.05 - early
        assert loop.time() - handled[0] >= 0.05 - early
    async with session.get(f"{near.url}/") as response:
        assert response.status == 200
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
