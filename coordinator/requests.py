"""What every handler of the API does with requests: bodies in time, JSON of one shape, limits; and answers."""

from __future__ import annotations

import asyncio
import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from coordinator.problems import Kind, Refused

BODY_BYTES_MAX = 2 * 1024 * 1024
BODY_S = 10.0
PAGE_MAX = 200
PAGE = 50

T = TypeVar("T")


def check_filled(field: str, value: str) -> None:
    """Raise `Refused` for a member that says nothing."""
    if not value.strip():
        raise Refused(Kind.BAD_REQUEST, f"{field} is empty", field=field, remedy="send a text")


def limit_of(request: web.Request) -> int:
    """Return how many a listing may show. Raises `Refused`."""
    text = request.query.get("limit", str(PAGE))
    if not text.isdecimal() or not 1 <= int(text) <= PAGE_MAX:
        raise Refused(Kind.BAD_REQUEST, f"limit is {text!r}", field="limit", remedy=f"a number from 1 to {PAGE_MAX}")
    return int(text)


async def body_of(request: web.Request) -> bytes:
    """Return a request's body, in time. Raises `Refused`."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise Refused(Kind.BODY_TIMEOUT, f"it did not come within {BODY_S:.0f} s") from None


async def read(request: web.Request, shape: type[T]) -> T:
    """Return a JSON body as `shape`. Raises `Refused`, which names the field."""
    data = await body_of(request)
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        named = re.search(r"field `(.*)`", what)
        field = named[1][:255] if named else where.rstrip("`")
        raise Refused(Kind.BAD_REQUEST, what, field=field, remedy="send what docs/coordinator.md lists") from None
    except msgspec.DecodeError as error:
        raise Refused(Kind.BAD_REQUEST, f"the body is not JSON: {error}", remedy="send a JSON object") from None


def answer(told: Any, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=msgspec.json.encode(told), status=status, content_type="application/json")
