"""Writes a streamed request body, as fast as the tool takes it and never past its announced length."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class BadUpload(Exception):
    """The body has not the length that was announced for it."""


class Sink(Protocol):
    """Where a body is written to."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the tool."""

    async def drained(self) -> None:
        """Wait while the tool is behind."""


async def upload(sink: Sink, body: AsyncIterator[bytes], length: int | None) -> None:
    """Write `body`: chunked (RFC 9112, 7.1) without a `length`, as it is with one.

    Raises BadUpload when the body is longer or shorter than `length`, and whatever the iterator raises. The terminating
    chunk is written only after the iterator has ended by itself: a body cut short must never look whole. The iterator
    is closed, if it can be, whichever way this ends.
    """
    sent = 0
    try:
        async for piece in body:
            if not piece:
                continue  # an empty chunk would end the body
            sent += len(piece)
            if length is None:
                sink.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            elif sent > length:
                raise BadUpload(f"more than the announced {length} bytes")
            else:
                sink.write(piece)
            await sink.drained()
    finally:
        aclose = getattr(body, "aclose", None)
        if aclose is not None:
            await aclose()
    if length is None:
        sink.write(b"0\r\n\r\n")
    elif sent != length:
        raise BadUpload(f"{sent} bytes in place of the announced {length}")
