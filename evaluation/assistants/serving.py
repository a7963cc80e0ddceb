"""The simulated API as a process, with the notifications that it sends."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from evaluation.address import Address
from evaluation.assistants.api import Api
from evaluation.assistants.script import Fate, Script
from evaluation.assistants.webhooks import Webhooks
from evaluation.serving import serve as serve_application


async def serve(
    listen: Address, script: Script, webhook: tuple[str, str] | None, started: Callable[[Address], None]
) -> None:
    """Serve until SIGTERM or SIGINT. `webhook` is a URL and the secret that signs; `started` is told where it listens.

    Raises `OSError` when it cannot listen there.
    """
    fate = Fate(script)
    webhooks = None if webhook is None else Webhooks(*webhook, fate)
    application = Api(fate, (lambda _: None) if webhooks is None else webhooks.notify).application()
    if webhooks is not None:

        async def close(_: web.Application) -> None:
            await webhooks.close()

        application.on_cleanup.append(close)
    await serve_application(listen, application, started)
