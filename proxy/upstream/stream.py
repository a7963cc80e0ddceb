"""The rest of a reply that is not kept: a bounded buffer between the tool's connection and whoever reads."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from typing import Protocol

from proxy.forward import Headers, Truncated

BUFFER_BYTES_MAX = 64 * 1024
"""Above this, reading from the tool pauses until the reader has taken what is there: one socket buffer's worth keeps
both sides busy. One segment (256 KiB at most, asyncio's and uvloop's read size) may come on top."""


class Line(Protocol):
    """What a stream asks of the connection that feeds it."""

    def pause(self) -> None:
        """Stop reading from the tool."""

    def resume(self) -> None:
        """Go on reading from the tool."""

    def drop(self, why: str) -> None:
        """Hang up, and tell the stream why it failed."""


class Stream:
    """A `ReplyStream`. Hands over whatever has come in since the last look, so events arrive as they come."""

    __slots__ = ("_buffer", "_line", "_loop", "_truncated", "_waiter", "trailers")

    def __init__(self, line: Line, loop: AbstractEventLoop) -> None:
        self.trailers: Headers = ()
        self._line: Line | None = line
        self._loop = loop
        self._buffer = bytearray()
        self._truncated: str | None = None
        self._waiter: Future[None] | None = None

    def push(self, data: bytes) -> None:
        """Add bytes from the tool, and pause it when the reader is behind."""
        self._buffer += data
        if self._line is not None and len(self._buffer) > BUFFER_BYTES_MAX:
            self._line.pause()
        if data:
            self._wake()

    def finish(self, trailers: Headers) -> None:
        """The reply is whole: its connection is no longer ours."""
        self.trailers = trailers
        self._line = None
        self._wake()

    def fail(self, why: str) -> None:
        """The reply will not become whole; what has come in can still be read."""
        self._truncated = why
        self._line = None
        self._wake()

    def close(self) -> None:
        """Stop reading; the connection is dropped unless the reply is already whole."""
        self._buffer.clear()
        if self._line is not None:
            self._line.drop("closed by its reader")

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        """Return what has come in, waiting for at least one byte. Raises Truncated when the rest will never come."""
        while not self._buffer:
            if self._truncated is not None:
                raise Truncated(self._truncated)
            if self._line is None:
                raise StopAsyncIteration
            assert self._waiter is None, "a stream has one reader"
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = bytes(self._buffer)
        self._buffer.clear()
        if self._line is not None:
            self._line.resume()
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
