"""A tool's reply as it is kept for replays: what of it is stored, how it is written down, and its digest."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from ledger.records import CorruptRecord

Headers = tuple[tuple[bytes, bytes], ...]

HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
     b"transfer-encoding", b"upgrade")
)  # fmt: skip
"""Fields that speak of one connection only (RFC 9110, 7.6.1, and the ones of RFC 2616 that old servers still send)."""

NEVER_KEPT = HOP_BY_HOP | frozenset(
    (b"set-cookie", b"set-cookie2", b"authorization", b"authentication-info", b"proxy-authentication-info", b"content-length")
)  # fmt: skip
"""Fields that belong to one caller or one message. Content-Length is written anew from the body."""


class Result(Struct, frozen=True, array_like=True):
    """A whole reply: replayed with the same status, headers and body for as long as it is kept."""

    status: int
    reason: bytes
    headers: Headers
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Result)


def storable(headers: Headers) -> Headers:
    """Return the fields that another caller may see, in their order and case; what Connection names is left out too."""
    named = connection_tokens(headers)
    return tuple(field for field in headers if field[0].lower() not in NEVER_KEPT and field[0].lower() not in named)


def connection_tokens(headers: Headers) -> frozenset[bytes]:
    """Return the field names (lower case) that the Connection fields declare to be hop-by-hop."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    if not values:
        return frozenset()
    return frozenset(token.strip().lower() for token in b",".join(values).split(b","))


def digest(status: int, headers: Headers, body: bytes) -> str:
    """Return SHA-256, in hex, over status, Content-Type and body: what makes two replies the same answer."""
    content_type = next((value for name, value in headers if name.lower() == b"content-type"), b"")
    hashed = hashlib.sha256(b"%d %d:%b" % (status, len(content_type), content_type))
    hashed.update(body)
    return hashed.hexdigest()


def encode(result: Result) -> bytes:
    """Write a result down."""
    return _encoder.encode(result)


def decode(data: bytes) -> Result:
    """Read a result back. Raises `CorruptRecord`."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise CorruptRecord(f"a stored result cannot be read: {error}") from error
