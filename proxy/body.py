"""Reading a request's body: whole within a limit and a time, or streamed on with the caller's back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from proxy.inbound.body import Cut
from proxy.inbound.request import Request
from proxy.problems import Kind, Refused

BODY_S = 30.0
"""Contract, section 6: a body that is not whole by then is refused; nothing was claimed for it."""


def at_hand(request: Request, bytes_max: int) -> bytes | None:
    """Return the body if it has come in whole by now, as small ones have; None if it must be waited for, and then the
    caller has been told to send it.

    Raises `Refused` if it is larger than `bytes_max`, announced or found to be.
    """
    announced = request.head.length
    if announced is not None and announced > bytes_max:
        raise Refused(Kind.TOO_LARGE, f"the body has {announced} bytes; {bytes_max} are allowed", close=True)
    body = request.body.at_hand()
    if body is None:
        request.welcome()
    elif len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


async def read_whole(request: Request, bytes_max: int) -> bytes:
    """Return the body that was not `at_hand`. Raises `Refused` if it is larger than `bytes_max`, late, or cut short."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _gather(request, bytes_max)
    except TimeoutError:
        raise _late() from None
    except Cut as cut:
        raise _cut_short(cut) from cut


async def look_ahead(request: Request, bytes_max: int) -> tuple[bytes, bool]:
    """Return the body, or as much of it as shows that it is larger than `bytes_max`, and whether that is all.

    Raises `Refused` if it is late, piece by piece, or cut short.
    """
    request.welcome()
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in stream(request):
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                break
    except TimeoutError:
        raise _late() from None
    except Cut as cut:
        raise _cut_short(cut) from cut
    return b"".join(pieces), size <= bytes_max


async def go_on(begun: bytes, request: Request) -> AsyncIterator[bytes]:
    """Yield a body that was looked at, then the rest of it."""
    yield begun
    async for piece in stream(request):
        yield piece


async def stream(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces as they come. Raises `Cut`, and `TimeoutError` when nothing comes in time."""
    while True:
        async with asyncio.timeout(BODY_S):
            piece = await request.body.piece()
        if not piece:
            return
        yield piece


async def _gather(request: Request, bytes_max: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await request.body.piece():
        size += len(piece)
        if size > bytes_max:
            raise _too_large(bytes_max)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(bytes_max: int) -> Refused:
    return Refused(Kind.TOO_LARGE, f"the body has more than the {bytes_max} bytes that are allowed", close=True)


def _late() -> Refused:
    return Refused(Kind.BODY_TIMEOUT, f"the body was not whole after {BODY_S:.0f} s", close=True)


def _cut_short(cut: Cut) -> Refused:
    return Refused(Kind.BAD_REQUEST, f"the body was cut short or malformed: {cut}", close=True)
