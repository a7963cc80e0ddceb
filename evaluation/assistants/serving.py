"""The simulator as a process: it serves until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from aiohttp import web

from evaluation.address import Address
from evaluation.assistants.api import Api
from evaluation.assistants.script import Fate, Script
from evaluation.assistants.webhooks import Webhooks


async def serve(
    listen: Address, script: Script, webhook: tuple[str, str] | None, started: Callable[[Address], None]
) -> None:
    """Serve until SIGTERM or SIGINT. `webhook` is a URL and the secret that signs; `started` is told where it listens.

    Raises `OSError` when it cannot listen there.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fate = Fate(script)
    webhooks = None if webhook is None else Webhooks(*webhook, fate)
    api = Api(fate, (lambda _: None) if webhooks is None else webhooks.notify)
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=0.5)
    try:
        await runner.setup()
        await web.TCPSite(runner, listen.host, listen.port).start()
        started(Address(listen.host, runner.addresses[0][1]))
        await stop.wait()
    finally:
        await runner.cleanup()
        if webhooks is not None:
            await webhooks.close()
