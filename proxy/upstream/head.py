"""What the head of a final reply says about its body and its connection (RFC 9112, 6.3 and 9.3)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Literal

from msgspec import Struct

from proxy.forward import Headers

Framing = Literal["length", "chunked", "close", "none"]

_INTERESTING = frozenset({b"connection", b"content-length", b"content-type", b"transfer-encoding"})
_LENGTHS = frozenset(len(name) for name in _INTERESTING)
EVENT_STREAM = b"text/event-stream"
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PHRASES = frozenset(status.phrase.encode() for status in HTTPStatus)


class BadReply(Exception):
    """The reply was cut short, or breaks the rules of HTTP/1.1. The message says how."""


class Head(Struct, frozen=True, gc=False):
    """A final reply's head. `length` is the Content-Length, if that is what frames the body."""

    status: int
    reason: bytes
    headers: Headers
    framing: Framing
    length: int | None
    event_stream: bool
    keep_alive: bool


def judge(status: int, reason: bytes, version: str, headers: Headers, *, bodiless: bool) -> Head:
    """Return the head with its framing; `bodiless` says that the request was a HEAD.

    Raises BadReply where framing is anybody's guess: a transfer coding other than `chunked` (we never offer one), one
    in HTTP/1.0, another version. llhttp has refused a Content-Length that is no number, is doubled, or stands beside a
    transfer coding. HTTP/1.0 connections are not used again: what their keep-alive means depends on who is asked.
    """
    if version not in {"1.1", "1.0"}:
        raise BadReply(f"HTTP version {version}")
    if reason not in _PHRASES and _CONTROL.search(reason):
        raise BadReply("control characters in the reason")
    length: int | None = None
    codings: tuple[bytes, ...] = ()
    event_stream = closes = False
    for name, value in headers:
        if len(name) not in _LENGTHS:  # this loop is on every call's way, and a length costs less than a lower()
            continue
        lowered = name.lower()
        if lowered == b"content-length":
            length = int(value)
        elif lowered == b"content-type":
            event_stream = len(value) >= len(EVENT_STREAM) and value[:17].lower() == EVENT_STREAM
        elif lowered == b"transfer-encoding":
            codings += (value.strip().lower(),)
        elif lowered == b"connection":
            closes = closes or b"close" in value.lower()
    framing: Framing
    if bodiless or status in {204, 304}:
        framing = "none"
    elif not codings:
        framing = "close" if length is None else "length"
    elif version == "1.1" and codings == (b"chunked",):
        framing = "chunked"
    else:
        raise BadReply("a transfer coding that nobody asked for")
    keep_alive = framing != "close" and version == "1.1" and not closes
    return Head(status, reason, headers, framing, length if framing == "length" else None, event_stream, keep_alive)
