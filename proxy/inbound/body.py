"""One request's body on its way in: cut to its length or out of its chunks, and at the pace of whoever reads it."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from typing import Protocol

from proxy.inbound.chunks import BadChunks, Chunks

BUFFER_BYTES_MAX = 64 * 1024
"""Above this, reading from the caller pauses until what is here was taken. One segment (256 KiB at most, asyncio's and
uvloop's read size) may come on top."""


class Cut(Exception):
    """The body ended before it was whole, or is malformed. The message says which."""


class Line(Protocol):
    """What a body asks of the connection that it comes over."""

    def pause(self) -> None:
        """Stop reading from the caller."""

    def resume(self) -> None:
        """Go on reading from the caller."""


class Body:
    """What has come in and was not taken yet. `whole`: all of it has come in. `begun`: some of it has."""

    __slots__ = ("_chunks", "_fault", "_left", "_line", "_loop", "_pieces", "_size", "_unwanted", "_waiter", "begun",
                 "whole")  # fmt: skip

    def __init__(self, line: Line, loop: AbstractEventLoop, length: int | None) -> None:
        """Expect `length` bytes; None: as many as the chunks hold."""
        self.whole = length == 0
        self.begun = False
        self._line = line
        self._loop = loop
        self._left = length or 0
        self._chunks = Chunks() if length is None else None
        self._pieces: list[bytes] = []
        self._size = 0
        self._fault = ""
        self._unwanted = False
        self._waiter: Future[None] | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the caller, of a body that is not whole, and return what follows the body."""
        if not data or self._fault:
            return b""
        self.begun = True
        if self._chunks is None:
            surplus = self._count(data)
        else:
            try:
                pieces, surplus = self._chunks.feed(data)
            except BadChunks as error:
                self.fail(str(error))
                return b""
            self._pieces += pieces
            self._size += sum(map(len, pieces))
            self.whole = self._chunks.whole
        if self._unwanted:
            self._pieces.clear()
            self._size = 0
        elif self._size > BUFFER_BYTES_MAX and not self.whole:
            self._line.pause()
        if self._waiter is not None:
            self._wake()
        return surplus

    def _count(self, data: bytes) -> bytes:
        surplus = b""
        size = len(data)
        if size > self._left:
            data, surplus = data[: self._left], data[self._left :]
            size = self._left
        self._left -= size
        self.whole = not self._left
        self._pieces.append(data)
        self._size += size
        return surplus

    def fail(self, why: str) -> None:
        """The body will not become whole. Nothing happens once it is."""
        if not self.whole and not self._fault:
            self._fault = why
            self._wake()

    def spill(self) -> None:
        """Nobody wants what is here or comes yet."""
        self._unwanted = True
        self._pieces.clear()
        self._size = 0
        self._line.resume()

    @property
    def broken(self) -> bool:
        """Say whether the body can no longer become whole."""
        return bool(self._fault)

    def at_hand(self) -> bytes | None:
        """Return what has not been taken of a body that has come in whole, else None."""
        return self._take() if self.whole else None

    async def piece(self) -> bytes:
        """Return what has come in, waiting for at least one byte; nothing at the body's end. Raises `Cut`."""
        while not self._pieces:
            if self._fault:
                raise Cut(self._fault)
            if self.whole:
                return b""
            assert self._waiter is None, "a body has one reader"
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    def _take(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self._size > BUFFER_BYTES_MAX:
            self._line.resume()
        self._size = 0
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
