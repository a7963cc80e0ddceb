"""One connection to a tool: takes one request at a time, and tells its pool when it is free again or gone."""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

from proxy.forward import Origin, Outbound, Outcome, Replied
from proxy.upstream.exchange import Exchange, Informational
from proxy.upstream.head import BadReply
from proxy.upstream.upload import upload

JOIN_BYTES_MAX = 64 * 1024
"""Bodies up to here are joined to their head, so that both leave in one segment; above, the copy costs more."""


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def freed(self, connection: Connection) -> None:
        """The connection may carry another request."""

    def gone(self, connection: Connection) -> None:
        """The connection's descriptor is closed."""


class Connection(asyncio.Protocol):
    """The protocol of one connection, from its dialling to its end. Never re-sends; never outlives a doubt."""

    __slots__ = (
        "_drained", "_exchange", "_loop", "_owner", "_paused", "_poll", "_transport", "_uploader", "idle_since",
        "origin",
    )  # fmt: skip

    def __init__(self, origin: Origin, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.idle_since = 0.0
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._exchange: Exchange | None = None
        self._uploader: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._paused = False

    def adopt(self, transport: asyncio.Transport) -> None:
        """Use `transport`, which has connected and, for https, shaken hands."""
        self._transport = transport
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    @property
    def alive(self) -> bool:
        """Say whether a request can be written, as far as the event loop has noticed."""
        return self._transport is not None and not self._transport.is_closing()

    def quiet(self) -> bool:
        """Say whether the connection is alive and the tool has sent nothing, not even its end, that the event loop
        has not seen yet. An unread TLS session ticket counts as noise; that costs a dial, nothing else."""
        transport, poll = self._transport, self._poll
        return transport is not None and poll is not None and not transport.is_closing() and not poll.poll(0)

    async def send(
        self,
        request: Outbound,
        head: bytes,
        on_sent: Callable[[], None] | None,
        on_informational: Informational | None,
    ) -> Outcome:
        """Write `request` once and return `Replied` or `Lost`. Cancelling hangs up."""
        exchange = Exchange(self, self._loop, request.method, request.keep_bytes_max, on_informational)
        self._exchange = exchange
        try:
            if on_sent is not None:
                on_sent()
            self._write_request(head, request)
            uploader = self._uploader
            outcome = await exchange.outcome
            if uploader is not None and not (isinstance(outcome, Replied) and outcome.stream is not None):
                await asyncio.wait({uploader})  # the caller gets its iterator back with the outcome
            return outcome
        except BaseException:
            if self._exchange is exchange:  # if its reply is whole, the connection may carry another request by now
                self.drop("hung up")
            raise

    def _write_request(self, head: bytes, request: Outbound) -> None:
        body, transport = request.body, self._transport
        if transport is None or transport.is_closing():
            # asyncio would drop the bytes in silence, with nobody left to tell.
            self.drop("closed as we were about to write")
            return
        try:
            if not isinstance(body, bytes):
                transport.write(head)
                self._uploader = self._loop.create_task(self._upload(body, request.body_length))
            elif len(body) <= JOIN_BYTES_MAX:
                transport.write(head + body)
            else:
                transport.write(head)
                transport.write(body)
        except (OSError, RuntimeError) as error:
            # uvloop: `RuntimeError: handler is closed`. Whether the kernel took a part of it is beyond knowing.
            self.drop(f"writing failed: {error}")
            return
        if request.write_ms and transport.get_write_buffer_size():
            self._loop.call_later(request.write_ms / 1_000, self._drop_unwritten, self._exchange)

    def _drop_unwritten(self, exchange: Exchange | None) -> None:
        """Hang up if `exchange` is still under way, and the tool has not taken all of its request."""
        transport = self._transport
        if exchange is self._exchange and transport is not None and transport.get_write_buffer_size():
            self.drop("the tool did not take the whole request in time")

    async def _upload(self, body: AsyncIterator[bytes], length: int | None) -> None:
        try:
            await upload(self, body, length)
        except BaseException as error:
            # Whatever went wrong, half a request is with the tool: the outcome says so, with the reason in it.
            self._uploader = None
            self.drop(f"the request body ended early: {type(error).__name__}: {error}")
            if not isinstance(error, Exception):
                raise
        self._uploader = None

    def write(self, data: bytes) -> None:
        """Queue bytes for the tool."""
        assert self._transport is not None
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait while the tool is behind."""
        if self._drained is not None:
            await self._drained

    def pause(self) -> None:
        """Stop reading from the tool."""
        if not self._paused and self.alive:
            self._paused = True
            cast("asyncio.Transport", self._transport).pause_reading()

    def resume(self) -> None:
        """Go on reading from the tool."""
        if self._paused:
            self._paused = False
            if self.alive:
                cast("asyncio.Transport", self._transport).resume_reading()

    def drop(self, why: str) -> None:
        """Hang up at once; what waits for a reply on this connection is told why it is lost."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.fail(why)
        self._stop_upload()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Give bytes to the reply that they belong to; without one they are one byte too many."""
        exchange = self._exchange
        if exchange is None:
            self.drop("bytes that nobody asked for")
            return
        try:
            whole = exchange.received(data)
        except BadReply as error:
            self.drop(str(error))
            return
        if not whole:
            return
        self._exchange = None
        transport = self._transport
        if (
            exchange.reusable
            and self._uploader is None  # the request is whole too
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            if self._paused:
                self.resume()
            self._owner.freed(self)
        else:
            self.drop("not to be used again")

    def eof_received(self) -> None:
        """Take the tool's end: of a reply that ends so, or of everything. The transport closes itself after this."""
        exchange = self._exchange
        if exchange is None:
            return
        if not self._ended_in_order():
            self.drop("TLS ended without a close_notify")
            return
        try:
            exchange.ended()
        except BadReply as error:
            self.drop(str(error))
            return
        self._exchange = None
        self.drop("ended with its reply")

    def connection_lost(self, exc: Exception | None) -> None:
        """The descriptor is closed, by whomever."""
        self.drop(f"connection lost: {exc or 'closed'}")
        self.resume_writing()
        self._owner.gone(self)

    def pause_writing(self) -> None:
        """The tool is behind."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """The tool has caught up."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _ended_in_order(self) -> bool:
        """Say whether the end came from the tool: a TLS stream that lacks its close_notify may have been cut by anybody
        (RFC 9112, 9.8). asyncio does not tell the two apart; OpenSSL knows."""
        assert self._transport is not None
        ssl_object = self._transport.get_extra_info("ssl_object")
        if ssl_object is None:
            return True
        try:
            return not ssl_object.read(1)
        except ssl.SSLError:  # SSLWantReadError: it expects more
            return False

    def _stop_upload(self) -> None:
        uploader, self._uploader = self._uploader, None
        if uploader is not None:
            uploader.cancel()
