"""A simulator as a process: it serves until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware
from msgspec import Struct

from evaluation.address import Address


class Far(Struct, frozen=True):
    """Where a server listens as well, for those who are far from it: each way takes `away_s` seconds more."""

    listen: Address
    away_s: float


async def serve(
    listen: Address, application: web.Application, started: Callable[[Address], None], far: Far | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; what is still being answered then is cut off. `started` is told where it listens.

    A caller that hangs up stops nothing: a tool that took its effect back would be none. Raises `OSError` when it
    cannot listen there.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if far is not None:
        application.middlewares.insert(0, _delayed(far))
    runner = web.AppRunner(application, access_log=None, handler_cancellation=False, shutdown_timeout=0.5)
    try:
        await runner.setup()
        await web.TCPSite(runner, listen.host, listen.port).start()
        if far is not None:
            await web.TCPSite(runner, far.listen.host, far.listen.port).start()
        started(Address(listen.host, runner.addresses[0][1]))
        await stop.wait()
    finally:
        await runner.cleanup()


def _delayed(far: Far) -> Middleware:
    """Return what makes requests that came in far away take their time, there and back."""

    @web.middleware
    async def travel(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        transport = request.transport
        if transport is None or transport.get_extra_info("sockname")[1] != far.listen.port:
            return await handler(request)
        await asyncio.sleep(far.away_s)
        response = await handler(request)
        await asyncio.sleep(far.away_s)
        return response

    return travel
