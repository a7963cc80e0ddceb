"""As much of HTTP/1.1 framing as the two ends of the bench need: one message at a time, with a Content-Length."""

from __future__ import annotations


class BadFraming(Exception):
    """A message whose end cannot be told, or bytes after it that nobody asked for."""


def split_message(data: bytes, *, bodiless: bool = False) -> tuple[bytes, bytes] | None:
    """Return head and body of the message in `data`, or None while it is not whole.

    `bodiless` is for requests that may do without a Content-Length. Raises `BadFraming`.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end]
    length = content_length(head)
    if length is None:
        if not bodiless:
            raise BadFraming(f"no Content-Length in {head[:200]!r}")
        length = 0
    rest = len(data) - end - 4 - length
    if rest < 0:
        return None
    if rest > 0:
        raise BadFraming(f"{rest} bytes too many after {head[:200]!r}")
    return head, data[end + 4 :]


def content_length(head: bytes) -> int | None:
    """Return the Content-Length that a head announces."""
    value = header(head, b"content-length")
    return int(value) if value else None


def header(head: bytes, name: bytes) -> bytes:
    """Return the value of the header `name` (lower case), or nothing."""
    lower = head.lower()
    at = lower.find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    begin = at + len(name) + 3
    end = lower.find(b"\r\n", begin)
    return head[begin : end if end >= 0 else None].strip()
