"""The connections of all callers: what they are served by, what becomes of faults, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy import answer
from proxy.answer import Answer
from proxy.inbound.connection import Connection
from proxy.inbound.request import Request, Serve
from proxy.log import Log
from proxy.problems import Kind, Refused
from proxy.response import AnswerWriter, rendered


class Server:
    """Makes the protocols of new connections; give it to `create_server`. It is its connections' `Owner`.

    `serve` answers a request at once, puts it off, or returns the coroutine that will answer it. That is never
    cancelled because its caller hung up. `refused` is told of answers to what was no request.
    """

    def __init__(self, serve: Serve, log: Log, refused: Callable[[Answer], None] | None = None) -> None:
        self.serve = serve
        self.draining = False
        self._log = log
        self._refused = refused
        self._connections: set[Connection] = set()
        self._waiter: asyncio.Future[None] | None = None

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        connection = Connection(self, asyncio.get_running_loop())
        self._connections.add(connection)
        return connection

    def drain(self) -> None:
        """Hang up on callers to whom nothing is owed, and on each other one after its answer."""
        self.draining = True
        for connection in tuple(self._connections):
            connection.end_if_idle()

    async def finished(self) -> None:
        """Return when nobody who is still there waits for an answer."""
        while any(connection.serving for connection in self._connections):
            await self._change()

    async def shutdown(self, seconds: float) -> None:
        """Drain; after `seconds`, hang up on whoever is left, and stop serving."""
        self.drain()
        try:
            async with asyncio.timeout(seconds):
                while self._connections:
                    await self._change()
        except TimeoutError:
            left = [connection.task for connection in self._connections if connection.task is not None]
            for connection in tuple(self._connections):
                connection.abort()
            await asyncio.gather(*left, return_exceptions=True)

    def refuse(self, refused: Refused, transport: asyncio.Transport) -> None:
        """Answer what is no request of ours."""
        given = answer.refusal(refused.kind, refused.detail, close=True)
        transport.write(rendered(given))
        if self._refused is not None:
            self._refused(given)

    def failed(self, request: Request, error: Exception) -> None:
        """Log that a handler failed, and where; tell the caller, or cut off what has begun.

        Whatever went wrong, its forward (if any) lives in a task of its own and settles.
        """
        self._log.event("request.failed", level="error", error=type(error).__name__, where=_where(error))
        transport = request.caller.transport
        if request.begun and transport is not None:
            transport.abort()
        elif not request.gone():
            AnswerWriter(request, answer.refusal(Kind.INTERNAL, "see Holdfast's log", close=True)).send_whole()

    def served(self) -> None:
        """A connection has nothing to serve any more."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def gone(self, connection: Connection) -> None:
        """A connection is lost, and what it was asked for is done."""
        self._connections.discard(connection)
        self.served()

    async def _change(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
