"""The head of a request as it goes on the wire: what the caller gave, byte for byte, and the framing that we add.

Nothing is normalised: the target keeps its percent-signs and dots, fields keep their order and case. `Connection` is
not sent, because a connection that stays open is HTTP/1.1's default (RFC 9112, 9.3).
"""

from __future__ import annotations

from proxy.forward import Outbound

USUALLY_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods that say `Content-Length: 0` when there is no body: their semantics expect one (RFC 9110, 8.6)."""


FRAMING = frozenset({b"content-length", b"transfer-encoding"})


def encode_head(request: Outbound) -> bytes:
    """Return request line and header section, framing added, up to and including the empty line.

    Raises ValueError when the request line or a field could smuggle another one in, or frames the body itself: the
    caller has refused such requests long before.
    """
    method, target = request.method, request.target
    lines = [method + b" " + target + b" HTTP/1.1"]
    for name, value in request.headers:
        if name.lower() in FRAMING:
            raise ValueError("framing fields are added here, never passed in")
        lines.append(name + b": " + value)
    given = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if given.count(b"\n") != breaks or given.count(b"\r") != breaks or b"\0" in given:
        raise ValueError("CR, LF or NUL within the request line or a field")
    if not method or not target or b" " in method or b" " in target:
        raise ValueError("the request line must have three words")
    return given + _framing(request)


def _framing(request: Outbound) -> bytes:
    """Return the framing field and the empty line."""
    body = request.body
    if isinstance(body, bytes):
        if body or request.method in USUALLY_WITH_BODY:
            return b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        return b"\r\n\r\n"
    if request.body_length is None:
        return b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    return b"\r\nContent-Length: %d\r\n\r\n" % request.body_length
