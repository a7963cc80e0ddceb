"""A simulator as a process: it says where it listens, and ends when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal

import aiohttp
import pytest
from aiohttp import web

from evaluation.address import Address
from evaluation.serving import serve


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
