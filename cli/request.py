"""A request to be explained: from flags, or from a file as it would go over the wire."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from msgspec import Struct

from proxy.forward import Headers

FILE_BYTES_MAX = 256 * 1024 * 1024
"""The largest body that a policy can allow."""


_METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A token (RFC 9110, 5.6.2)."""


class BadRequest(ValueError):
    """What was given is not a request. The message says why."""


class Request(Struct, frozen=True):
    """Method, raw target, header fields and body, as the data port would see them."""

    method: str
    target: str
    headers: Headers
    body: bytes


def from_flags(method: str, target: str, headers: tuple[str, ...], body: str) -> Request:
    """Put a request together. `body` is text, or `@file`, or `@-` for standard input. Raises `BadRequest`."""
    return Request(_method(method), _target(target), tuple(_field(line) for line in headers), _body(body))


def from_file(path: str) -> Request:
    """Read an HTTP/1.1 request: request line, fields, an empty line, the body as it is. Raises `BadRequest`.

    Lines may end as an editor leaves them. With a Content-Length the body ends there; without one it is the rest.
    """
    head, body = _split(_read(path))
    first, *lines = head.decode("utf-8", "surrogateescape").splitlines() or [""]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        raise BadRequest(f"{path}: the first line is not 'METHOD /path HTTP/1.1'")
    headers = tuple(_field(line) for line in lines)
    return Request(_method(words[0]), _target(words[1]), headers, _framed(path, headers, body))


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Return head and body; without an empty line all is head."""
    ends = [(data.index(gap), len(gap)) for gap in (b"\r\n\r\n", b"\n\n") if gap in data]
    at, length = min(ends, default=(len(data), 0))
    return data[:at], data[at + length :]


def _framed(path: str, headers: Headers, body: bytes) -> bytes:
    named = {name.lower(): value for name, value in headers}
    if b"transfer-encoding" in named:
        raise BadRequest(f"{path}: write the body as it is, without Transfer-Encoding")
    length = named.get(b"content-length")
    if length is None:
        return body
    if not length.isdigit() or int(length) > len(body):
        raise BadRequest(f"{path}: Content-Length is {length.decode('latin-1')}, and {len(body)} bytes of body follow")
    return body[: int(length)]


def _method(method: str) -> str:
    if _METHOD.fullmatch(method) is None:
        raise BadRequest(f"{method!r} is not a method")
    if method in {"CONNECT", "TRACE"}:
        raise BadRequest(f"{method} is refused before any policy is looked at")
    return method


def _target(target: str) -> str:
    if not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target or "#" in target:
        raise BadRequest(f"{target!r} is not a path as it goes over the wire: it starts with / and is percent-encoded")
    return target


def _field(line: str) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise BadRequest(f"{line!r} is not a header field: write 'Name: value'")
    return name.encode("utf-8", "surrogateescape"), value.strip().encode("utf-8", "surrogateescape")


def _body(body: str) -> bytes:
    return _read(body[1:]) if body.startswith("@") else body.encode("utf-8", "surrogateescape")


def _read(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read(FILE_BYTES_MAX)
        with Path(path).open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}") from None
