"""The head of a request as it goes on the wire: what the caller gave, byte for byte, and the framing that we add.

Nothing is normalised: the target keeps its percent-signs and dots, fields keep their order and case. `Connection` is
not sent, because a connection that stays open is HTTP/1.1's default (RFC 9112, 9.3).
"""

from __future__ import annotations

from functools import lru_cache

from proxy.forward import Outbound

USUALLY_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods that say `Content-Length: 0` when there is no body: their semantics expect one (RFC 9110, 8.6)."""

FRAMING = frozenset({b"content-length", b"transfer-encoding"})

TEMPLATES_MAX = 256
"""Lists of field names that are remembered: an agent sends the same few with each call, a hostile one costs time."""

_CR, _LF, _NUL, _SPACE = b"\r\n\0 "
"""As integers: `in` finds one of those at a tenth of what a string of one byte costs."""

_LENGTH = b"Content-Length: %d\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_NOTHING = b"\r\n"


def encode_head(request: Outbound) -> bytes:
    """Return request line and header section, framing added, up to and including the empty line.

    Raises ValueError when the request line or a field could smuggle another one in, or frames the body itself: the
    caller has refused such requests long before.
    """
    method, target = request.method, request.target
    names: list[bytes] = []
    given = [method, target]
    for name, value in request.headers:
        names.append(name)
        given.append(value)
    text = b"".join(given)
    if _CR in text or _LF in text or _NUL in text:
        raise ValueError("CR, LF or NUL within the request line or a field")
    if not method or not target or _SPACE in method or _SPACE in target:
        raise ValueError("the request line must have three words")
    body, length = request.body, request.body_length
    if isinstance(body, bytes):
        length = len(body)
        if not length and method not in USUALLY_WITH_BODY:
            return _template(tuple(names), _NOTHING) % tuple(given)
    if length is None:
        return _template(tuple(names), _CHUNKED) % tuple(given)
    return _template(tuple(names), _LENGTH) % (*given, length)


@lru_cache(TEMPLATES_MAX)
def _template(names: tuple[bytes, ...], framing: bytes) -> bytes:
    """Return what method, target, the values of `names` and a length are to be filled into. Raises ValueError."""
    text = b"".join(names)
    if _CR in text or _LF in text or _NUL in text:
        raise ValueError("CR, LF or NUL within the name of a field")
    if not FRAMING.isdisjoint(name.lower() for name in names):
        raise ValueError("framing fields are added here, never passed in")
    return b"%b %b HTTP/1.1\r\n" + b"".join(name.replace(b"%", b"%%") + b": %b\r\n" for name in names) + framing
