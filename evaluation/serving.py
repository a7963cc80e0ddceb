"""A simulator as a process: it serves until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from aiohttp import web

from evaluation.address import Address


async def serve(listen: Address, application: web.Application, started: Callable[[Address], None]) -> None:
    """Serve until SIGTERM or SIGINT; what is still being answered then is cut off. `started` is told where it listens.

    A caller that hangs up stops nothing: a tool that took its effect back would be none. Raises `OSError` when it
    cannot listen there.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=False, shutdown_timeout=0.5)
    try:
        await runner.setup()
        await web.TCPSite(runner, listen.host, listen.port).start()
        started(Address(listen.host, runner.addresses[0][1]))
        await stop.wait()
    finally:
        await runner.cleanup()
