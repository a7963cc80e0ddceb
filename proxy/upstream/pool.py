"""The forward over our own connections: take an idle one or dial, write once, tell what came of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from msgspec import Struct

from proxy.forward import Headers, NotSent, Outbound, Outcome
from proxy.upstream.connection import Connection
from proxy.upstream.dial import dial, tls_context
from proxy.upstream.idle import Idle
from proxy.upstream.request import encode_head


class Stats(Struct, frozen=True):
    """Connections dialled (with success) and taken from the idle ones since the start; open and idle ones now."""

    dials: int
    reuses: int
    open: int
    idle: int


class Upstream:
    """A `Forward`. Belongs to the event loop that it is first called on; `close` lets go of everything.

    `context` makes the TLS context for https, once, when it is first needed.
    """

    __slots__ = ("_closed", "_context", "_dials", "_emptied", "_idle", "_loop", "_make_context", "_open", "_reuses")

    def __init__(self, context: Callable[[], ssl.SSLContext] = tls_context) -> None:
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: Idle | None = None
        self._open: set[Connection] = set()
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False
        self._dials = 0
        self._reuses = 0

    @property
    def stats(self) -> Stats:
        """What the metrics tell."""
        return Stats(self._dials, self._reuses, len(self._open), len(self._idle or ()))

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """Forward `request` once; see the port. Raises ValueError for a request that must not be put on a wire."""
        head = encode_head(request)
        idle = self._idle
        if idle is None:
            self._loop = asyncio.get_running_loop()
            idle = self._idle = Idle(self._loop)
        connection = idle.take(request.origin)
        if connection is not None:
            self._reuses += 1
        else:
            dialled = await self._dial(request)
            if isinstance(dialled, NotSent):
                return dialled
            connection = dialled
        return await connection.send(request, head, on_sent, on_informational)

    async def close(self) -> None:
        """Hang up on every tool and wait until the descriptors are closed; later calls are `NotSent`."""
        self._closed = True
        if self._idle is not None:
            self._idle.close()
        for connection in tuple(self._open):
            connection.drop("shutting down")
        if self._open:
            if self._emptied is None:
                self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)

    def freed(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if self._closed or self._idle is None:
            connection.drop("shutting down")
        else:
            self._idle.put(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a connection whose descriptor is closed."""
        if self._idle is not None:
            self._idle.forget(connection)
        self._open.discard(connection)
        if not self._open and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    async def _dial(self, request: Outbound) -> Connection | NotSent:
        loop = self._loop
        assert loop is not None
        origin = request.origin
        dialled = await dial(origin, request.connect_ms, lambda: Connection(origin, self, loop), self._tls)
        if isinstance(dialled, NotSent):
            return dialled
        # What a TLS server sends first may be session tickets; what any other sends first is no reply of ours.
        unspoiled = dialled.alive if origin.scheme == "https" else dialled.quiet()
        if self._closed or not unspoiled:
            dialled.drop("closed before it was used")
            return NotSent("connect", "closed before anything was written")
        self._dials += 1
        self._open.add(dialled)
        return dialled

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = self._make_context()
        return self._context
