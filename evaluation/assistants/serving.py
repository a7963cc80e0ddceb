"""The simulated API as a process, with the notifications that it sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web

from evaluation.address import Address
from evaluation.assistants.api import Api
from evaluation.assistants.script import Fate, Script
from evaluation.assistants.webhooks import Receiver, Webhooks
from evaluation.serving import Far
from evaluation.serving import serve as serve_application


async def serve(
    listen: Address,
    script: Script,
    receivers: Sequence[Receiver],
    secret: str,
    started: Callable[[Address], None],
    far: Far | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `receivers` are notified, signed with `secret`; `started` is told where it
    listens. Raises `OSError` when it cannot listen there."""
    fate = Fate(script)
    webhooks = Webhooks(receivers, secret, fate) if receivers else None
    application = Api(fate, (lambda _: None) if webhooks is None else webhooks.notify).application()
    if webhooks is not None:

        async def close(_: web.Application) -> None:
            await webhooks.close()

        application.on_cleanup.append(close)
    await serve_application(listen, application, started, far)
