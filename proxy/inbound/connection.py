"""One caller's connection: its requests are read, served and answered one after the other, for as long as both like.

In whatever state a connection is, something bounds how long it may stay there:

| state | until | bounded by |
|---|---|---|
| idle | a byte comes | `KEEP_ALIVE_S`; `HEADER_S` before the first request |
| reading a head | it is whole | `HEADER_S` from its first byte |
| serving | the answer is written | whoever serves; the body's time is `proxy.body`'s |
| serving a caller that is behind | it has caught up | `TAKE_S` in which it takes nothing |
| lingering | the rest of a body that nobody wants has come in, or the caller has hung up | `LINGER_S` |
| closing | the caller has taken what was written | `TAKE_S` |

What comes in while a request is served is kept for later, a little of it; then reading pauses. A caller that ends its
side of the connection has hung up.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from proxy.inbound.limit import Limit
from proxy.inbound.reader import HeadReader
from proxy.inbound.request import Request, Serve
from proxy.problems import Refused

HEADER_S = 10.0
"""For a request's head to be whole, and for a new connection to begin one (contract, section 6)."""

KEEP_ALIVE_S = 75.0
"""For an idle connection to be used again: longer than clients keep theirs, so that it is they who hang up, and no
request meets a connection that is being closed (decision 0025)."""

LINGER_S = 1.0
"""How long what nobody reads is read on, so that an answer is not destroyed on its way (RFC 9112, 9.6)."""

TAKE_S = 60.0
"""For a connection that has been closed to be gone, and for a caller that is behind to take anything: whoever has not
taken its answer by then is not going to."""

PENDING_BYTES_MAX = 64 * 1024
"""Of pipelined requests that wait for their turn. One segment may come on top."""


_IDLE, _HEAD, _SERVING, _SPILLING, _PARTED = range(5)
"""Lingering comes in two kinds: the answer is written and the connection goes on once the body is over, or our side of
it has been ended."""


class Owner(Protocol):
    """Whom a connection works for. `draining`: every answer is its connection's last."""

    draining: bool

    def serve(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer a request, at once, or in the coroutine that is returned, or later: see `Request.put_off`."""

    def refuse(self, refused: Refused, transport: asyncio.Transport) -> None:
        """Answer what is no request of ours."""

    def failed(self, request: Request, error: Exception) -> None:
        """Tell of a fault of ours, also the caller if nothing has been written."""

    def served(self) -> None:
        """A connection has nothing to serve any more."""

    def gone(self, connection: Connection) -> None:
        """The connection is lost, and what it was asked for is done."""


class Connection(asyncio.Protocol):
    """The protocol of one connection, from its acceptance to its end. It is its requests' `Caller`."""

    __slots__ = (
        "_drained", "_limit", "_loop", "_owner", "_paused", "_pending", "_reader", "_request", "_state", "_untaken",
        "on_lost", "task", "transport",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: asyncio.Transport | None = None
        self.on_lost: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None
        self._owner = owner
        self._loop = loop
        self._reader = HeadReader()
        self._request: Request | None = None
        self._state = _IDLE
        self._pending = b""
        self._paused = False
        self._drained: asyncio.Future[None] | None = None
        self._untaken = 0
        self._limit = Limit(loop, self._time_over)

    @property
    def draining(self) -> bool:
        """Say whether the answer that is written now is the connection's last."""
        return self._owner.draining

    @property
    def serving(self) -> bool:
        """Say whether somebody waits for an answer here."""
        return self._state == _SERVING and self._request is not None and not self._request.gone()

    def end_if_idle(self) -> None:
        """Hang up unless something is owed to the caller."""
        if self._state <= _HEAD:
            self._close()

    def abort(self) -> None:
        """Hang up at once, whatever is under way."""
        if self.task is not None:
            self.task.cancel()
        if self.transport is not None:
            self.transport.abort()

    # -- what the event loop calls ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own is one in all but its bases
        raw = transport.get_extra_info("socket")
        if raw is not None:  # a caller whose machine died says nothing more: the kernel finds out
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._limit.set(HEADER_S)

    def data_received(self, data: bytes) -> None:
        """Give bytes to the request that they belong to."""
        state, request = self._state, self._request
        if state <= _HEAD and self._drained is None:
            self._advance(data)
        elif request is not None and not request.body.whole:
            surplus = request.body.feed(data)
            if surplus:
                self._keep(surplus)
            if state == _SPILLING:
                self._spilt(request)
        elif state != _PARTED:
            self._keep(data)

    def eof_received(self) -> None:
        """The caller has ended its side, and is taken to have hung up. The transport closes itself after this."""
        self._hung_up()
        self._limit.set(TAKE_S)
        self._loop.call_soon(self._owner.served)  # once it has

    def connection_lost(self, exc: Exception | None) -> None:
        """The descriptor is closed, by whomever."""
        self.transport = None
        self._limit.end()
        self._hung_up()
        self.resume_writing()
        self._owner.served()
        if self.task is None and not (self._request is not None and self._request.put_off):
            self._owner.gone(self)

    def pause_writing(self) -> None:
        """The caller is behind."""
        self._drained = self._loop.create_future()
        if self._state == _SERVING:
            self._await_taking()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        if self._state == _SERVING and self.transport is not None and not self.transport.is_closing():
            self._limit.lift()
        if self._state <= _HEAD and self._pending:
            self._advance(self._take_pending())

    # -- what requests call ----------------------------------------------------------------------------------------

    def go_on(self, request: Request, serve: Serve) -> None:
        """Have a request answered that was put off until now, as `Owner.serve` would have."""
        request.put_off = False
        answered = self._serve(request, serve)
        if answered and self._finish(request):
            self._advance(self._take_pending())
        elif answered and self.transport is None:
            self._owner.gone(self)

    async def drained(self) -> None:
        """Wait while the caller is behind. Raises `ConnectionResetError` if it has gone."""
        if self._drained is not None:
            await self._drained
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the caller has gone")

    def pause(self) -> None:
        """Stop reading from the caller."""
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading from the caller, unless too much waits for its turn already."""
        if self._paused and len(self._pending) <= PENDING_BYTES_MAX:
            self._paused = False
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    # -- one request after the other -------------------------------------------------------------------------------

    def _advance(self, data: bytes) -> None:
        """Serve what has come in, until a request takes longer than this call, or more must come."""
        while data and self.transport is not None and not self.transport.is_closing():
            try:
                found = self._reader.read(data)
            except Refused as refused:
                self._owner.refuse(refused, self.transport)
                self._part(unread=True)
                return
            if found is None:
                if self._state == _IDLE and self._reader.begun:
                    self._state = _HEAD
                    self._limit.set(HEADER_S)
                return
            head, rest = found
            request = self._request = Request(self, self._loop, head)
            if not request.body.whole:
                rest = request.body.feed(rest)
            self._state = _SERVING
            self._limit.lift()
            if rest:
                self._keep(rest)
            if not self._serve(request, self._owner.serve) or not self._finish(request):
                return
            data = self._take_pending()

    def _serve(self, request: Request, serve: Serve) -> bool:
        """Have a request answered; say whether it has been."""
        try:
            coming = serve(request)
        except Exception as error:  # noqa: BLE001  # whatever it was, it is told in one place
            self._fail(request, error)
            return True
        if coming is None:
            return not request.put_off
        self.task = self._loop.create_task(self._run(request, coming))
        return False

    async def _run(self, request: Request, coming: Coroutine[Any, Any, None]) -> None:
        try:
            await coming
        except Exception as error:  # noqa: BLE001  # as above
            self._fail(request, error)
        finally:
            self.task = None
            if self.transport is None:
                self._owner.gone(self)
        if self._finish(request):
            self._advance(self._take_pending())

    def _fail(self, request: Request, error: Exception) -> None:
        request.keep_alive = False
        if not (isinstance(error, ConnectionError) and request.gone()):  # whoever would be told is gone
            self._owner.failed(request, error)

    def _finish(self, request: Request) -> bool:
        """The answer is written. Say whether what comes next can be served at once."""
        transport = self.transport
        self._request = None
        if transport is None or transport.is_closing():
            self._close()
            return False
        body = request.body
        if self._owner.draining or not request.keep_alive or body.broken or not (body.whole or request.welcomed):
            self._part(unread=not body.whole)
            return False
        if not body.whole:
            self._state, self._request = _SPILLING, request
            body.spill()
            self._limit.set(LINGER_S)
            return False
        self._state = _IDLE
        self._limit.set(KEEP_ALIVE_S)
        return self._drained is None

    def _spilt(self, request: Request) -> None:
        """More has come in of a body that nobody wants."""
        if request.body.broken:
            self._part(unread=True)
        elif request.body.whole and self._finish(request):
            self._advance(self._take_pending())

    def _part(self, *, unread: bool) -> None:
        """End the connection. If something may be `unread`, our side of it first: a socket that is closed on unread
        bytes resets the connection, and the answer is lost (RFC 9112, 9.6)."""
        transport, self._request = self.transport, None
        unread = unread or self._paused or bool(self._pending)
        self._state, self._pending = _PARTED, b""
        self._owner.served()
        if transport is None or transport.is_closing():
            return
        if unread and transport.can_write_eof():
            self.resume()
            transport.write_eof()
            self._limit.set(LINGER_S)
        else:
            self._close()

    def _keep(self, data: bytes) -> None:
        """Keep what came too early."""
        self._pending = self._pending + data if self._pending else data
        if len(self._pending) > PENDING_BYTES_MAX:
            self.pause()

    def _take_pending(self) -> bytes:
        data, self._pending = self._pending, b""
        if self._paused:
            self.resume()
        return data

    def _hung_up(self) -> None:
        """Tell everybody who would like to know."""
        if self._request is not None:
            self._request.body.fail("the caller hung up")
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()

    def _close(self) -> None:
        """Hang up once the caller has taken what was written, or has had its time for it."""
        if self.transport is not None:
            self.transport.close()
            self._limit.set(TAKE_S)

    def _await_taking(self) -> None:
        """Allow the caller its time to take something."""
        if self.transport is not None:
            self._untaken = self.transport.get_write_buffer_size()
            self._limit.set(TAKE_S)

    def _time_over(self) -> None:
        """Hang up on a caller that took too long."""
        transport = self.transport
        if transport is None:
            return
        if self._state == _SERVING and not transport.is_closing() and transport.get_write_buffer_size() < self._untaken:
            self._await_taking()
        elif self._state == _SERVING or transport.is_closing():
            transport.abort()
        else:
            self._close()
