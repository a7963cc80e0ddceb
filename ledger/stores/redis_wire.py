"""One connection to Redis that everybody shares: commands go out as they come, replies are matched to them in order.

redis-py opens it (TLS, AUTH, SELECT, name resolution are its handshake's), then the transport is handed over to a
protocol of our own: a pool's checkout, a lock and a time-out per command cost more than the proxy's work for a request.

A caller that is cancelled leaves its slot in the order; nobody's deadline closes the connection for the others. Only a
head of the order that waits longer than the deadline does: then nothing behind it would be answered either.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import AbstractConnection

from ledger.store import StoreUnavailable
from ledger.stores.redis_errors import ErrorReply, Garbled, Lost

COMMANDS_MAX = 8_192
"""Commands under way. A server that keeps up has a few hundred; beyond this one, waiting longer would help nobody."""
BYTES_MAX = 64 * 1024 * 1024
"""Bytes of commands under way: 64 of the largest results that a default policy keeps."""
LAST_CHANCE_S = 0.02
"""An overdue head is looked at twice, this far apart: after a blocked event loop its reply may lie in the socket."""

Reply = Any
"""What hiredis makes of a reply: bytes, int, list, None; or one of our exceptions, as a value."""

pack = cast("Callable[[tuple[bytes | str | int, ...]], bytes]", hiredis.pack_command)
"""Returns a command as Redis's protocol has it. (hiredis's own annotation knows tuples of one only.)"""

_NOT_YET: Final = object()


class Line(asyncio.Protocol):
    """A connection that has been opened. Made by `take_over`; every method is for the event loop's thread."""

    def __init__(
        self, connection: AbstractConnection, where: str, deadline_s: float, on_message: Callable[[bytes], None] | None
    ) -> None:
        self.where = where
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolved with the reason as soon as the connection is of no use any more."""
        self.usable = True
        """Until then."""
        self.sent_at = 0.0
        """When the latest command was sent, in loop time."""
        self._connection = connection
        self._deadline_s = deadline_s
        self._look_after_s = max(0.0, deadline_s - LAST_CHANCE_S)
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(protocolError=Garbled, replyError=ErrorReply, notEnoughData=_NOT_YET)
        self._waiting: deque[tuple[asyncio.Future[Reply], float, int]] = deque()
        self._bytes = 0
        self._unsent: list[bytes] = []
        self._watchdog: asyncio.TimerHandle | None = None
        self._overdue: asyncio.Future[Reply] | None = None
        self._idle: asyncio.Future[None] | None = None
        writer = connection._writer  # noqa: SLF001  redis-py has no public way to its transport; pinned by a test
        assert writer is not None
        self._transport = writer.transport
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport.set_protocol(self)

    def send(self, command: bytes) -> asyncio.Future[Reply]:
        """Send a packed command; the future resolves with its reply, an `ErrorReply`, `Lost` or `StoreUnavailable`.

        Errors come as values, so that a caller who is gone leaves no exception unread. Raises `StoreUnavailable` when
        too much is under way.
        """
        future = self._loop.create_future()
        if not self.usable:
            future.set_result(Lost(self.gone.result()))
            return future
        size, under_way = len(command), len(self._waiting)
        if under_way >= COMMANDS_MAX or self._bytes + size > BYTES_MAX:
            raise StoreUnavailable(f"redis at {self.where} is too slow: {under_way} commands are under way")
        self.sent_at = now = self._loop.time()
        self._waiting.append((future, now, size))
        self._bytes += size
        if self._watchdog is None:
            self._watchdog = self._loop.call_at(now + self._look_after_s, self._check)
        if not under_way:
            self._write(command)  # a lone command does not wait for company: half the latency of an idle proxy
        else:
            if not self._unsent:
                self._loop.call_soon(self._flush)
            self._unsent.append(command)
        return future

    def _flush(self) -> None:
        """Write what this turn of the loop has brought together: one system call for all of it."""
        if self.usable:
            commands, self._unsent = self._unsent, []
            self._write(b"".join(commands))

    def _write(self, commands: bytes) -> None:
        try:
            self._transport.write(commands)
        except (OSError, RuntimeError) as error:  # RuntimeError: uvloop's "handler is closed"
            self.drop(f"writing failed: {error}")

    def data_received(self, data: bytes) -> None:
        """Resolve the oldest slots with the replies that have come in."""
        gets = self._reader.gets
        next_slot = self._waiting.popleft
        on_message = self._on_message
        freed = 0
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _NOT_YET:
                if on_message is not None and type(reply) is list and reply[0] == b"message":
                    on_message(reply[2])
                    continue
                future, _, size = next_slot()
                freed += size
                if not future.done():
                    future.set_result(reply)
        except Garbled as error:
            self.drop(f"it does not speak Redis's protocol: {error}")
        except IndexError:
            self.drop("it sent a reply that nobody asked for")
        self._bytes -= freed
        if self._idle is not None and not self._waiting and not self._idle.done():
            self._idle.set_result(None)

    def _check(self) -> None:
        """Drop the connection if its oldest command has waited too long."""
        self._watchdog = None
        if not self._waiting:
            return
        head, sent_at, _ = self._waiting[0]
        look_at = sent_at + self._look_after_s
        if self._loop.time() < look_at:
            self._watchdog = self._loop.call_at(look_at, self._check)
        elif self._overdue is not head:
            self._overdue = head
            self._watchdog = self._loop.call_later(LAST_CHANCE_S, self._check)
        else:
            why = f"no answer within {self._deadline_s * 1000:.0f} ms"
            self.drop(why, lambda: StoreUnavailable(f"redis at {self.where}: {why}"))

    def drop(self, why: str, verdict: Callable[[], Exception] | None = None) -> None:
        """Give the connection up at once; what waits gets `verdict()`, by default `Lost`."""
        if not self.usable:
            return
        self.usable = False
        self.gone.set_result(why)
        self._unsent.clear()
        if self._watchdog is not None:
            self._watchdog.cancel()
        waiting, self._waiting = self._waiting, deque()
        for future, _, _ in waiting:
            if not future.done():
                future.set_result(verdict() if verdict else Lost(why))
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is closed, by whomever."""
        self.drop(str(exc) if exc else "the server closed the connection")
        # redis-py lets go here and not in `close`, where a cancellation could come between. Its `disconnect` would wait
        # for a stream that no longer hears of anything.
        self._connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001  as above
        if not self._closed.done():
            self._closed.set_result(None)

    async def drained(self) -> None:
        """Return when no command is under way; the watchdog sees that this ends."""
        if self._waiting:
            self._idle = self._loop.create_future()
            await self._idle

    async def close(self) -> None:
        """Let go of the socket; what waits gets `Lost`. Returns when the transport is closed."""
        self.drop("closed")
        await asyncio.shield(self._closed)


async def take_over(
    connection: AbstractConnection, where: str, deadline_s: float, on_message: Callable[[bytes], None] | None = None
) -> Line:
    """Return the line that a connected `connection` is. Raises ConnectionError if the handshake left bytes unread.

    `on_message` makes it a subscriber's line: it is called with what is published, outside of the order of replies.
    """
    if await connection.can_read():
        raise ConnectionError("unexpected bytes after the handshake")
    return Line(connection, where, deadline_s, on_message)
