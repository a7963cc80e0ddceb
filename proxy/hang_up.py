"""Noticing that a caller has hung up while a request of theirs is being answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestHandler


class AttentiveConnection(RequestHandler):
    """A caller's connection that calls back, once, when it is lost."""

    __slots__ = ("on_lost",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is there."""
        self.on_lost: Callable[[], None] | None = None
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """asyncio: the connection is gone, by whomever."""
        on_lost, self.on_lost = self.on_lost, None
        super().connection_lost(exc)
        if on_lost is not None:
            on_lost()


@contextmanager
def on_hang_up(request: web.BaseRequest, callback: Callable[[], None]) -> Iterator[None]:
    """Within this context, `callback` is called when the caller's connection ends; at once if it has ended."""
    connection = request.protocol
    assert isinstance(connection, AttentiveConnection)
    if connection.transport is None:
        callback()
    connection.on_lost = callback
    try:
        yield
    finally:
        connection.on_lost = None
