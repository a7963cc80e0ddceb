"""Reading a request's body: whole within a limit and a time, or streamed on with the caller's back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, web

from proxy.fields import Incoming
from proxy.problems import Kind, Refused

BODY_S = 30.0
"""Contract, section 6: a body that is not whole by then is refused; nothing was claimed for it."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def at_hand(request: web.BaseRequest, incoming: Incoming, bytes_max: int) -> bytes | None:
    """Return the body if it has come in whole by now, as small ones have; None if it must be waited for.

    Raises `Refused` if it is larger than `bytes_max`, announced or found to be.
    """
    announced = incoming.content_length
    if announced is not None and announced > bytes_max:
        raise Refused(Kind.TOO_LARGE, f"the body has {announced} bytes; {bytes_max} are allowed", close=True)
    if not request.body_exists:
        return b""
    if incoming.expects_continue:
        welcome(request, incoming)
    content = request.content
    if not content.is_eof() or content.exception() is not None:
        return None
    body = content.read_nowait()
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


async def read_whole(request: web.BaseRequest, bytes_max: int) -> bytes:
    """Return the body that was not `at_hand`. Raises `Refused` if it is larger than `bytes_max`, late, or cut short."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _gather(request, bytes_max)
    except TimeoutError:
        raise Refused(Kind.BODY_TIMEOUT, f"the body was not whole after {BODY_S:.0f} s", close=True) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Refused(Kind.BAD_REQUEST, "the body was cut short or malformed", close=True) from error


async def look_ahead(request: web.BaseRequest, incoming: Incoming, bytes_max: int) -> tuple[bytes, bool]:
    """Return the body, or as much of it as shows that it is larger than `bytes_max`, and whether that is all.

    Raises `Refused` if it is late, piece by piece, or cut short.
    """
    if not request.body_exists:
        return b"", True
    welcome(request, incoming)
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in stream(request):
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                break
    except TimeoutError:
        raise Refused(Kind.BODY_TIMEOUT, f"the body was not whole after {BODY_S:.0f} s", close=True) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Refused(Kind.BAD_REQUEST, "the body was cut short or malformed", close=True) from error
    return b"".join(pieces), size <= bytes_max


async def go_on(begun: bytes, request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield a body that was looked at, then the rest of it."""
    yield begun
    async for piece in stream(request):
        yield piece


async def stream(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield the body in pieces as they come. Raises `TimeoutError` when nothing comes for the body's time."""
    content = request.content
    while not content.at_eof():
        async with asyncio.timeout(BODY_S):
            piece = await content.readany()
        if piece:
            yield piece


def welcome(request: web.BaseRequest, incoming: Incoming) -> None:
    """Answer `Expect: 100-continue`, once, now that the body is wanted; not in HTTP/1.0 (RFC 9110, 10.1.1)."""
    if incoming.expects_continue and request.version >= HttpVersion11 and request.writer.transport is not None:
        request.writer.transport.write(CONTINUE)


async def _gather(request: web.BaseRequest, bytes_max: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > bytes_max:
            raise _too_large(bytes_max)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(bytes_max: int) -> Refused:
    return Refused(Kind.TOO_LARGE, f"the body has more than the {bytes_max} bytes that are allowed", close=True)
