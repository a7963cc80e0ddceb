"""Header fields on their way through: which go to the tool, which come back, and which are Holdfast's own.

Everything passes byte for byte, in its order and case, but for the fields of one connection (RFC 9110, 7.6.1) and those
that Holdfast itself consumes or sets. A `Connection` field cannot strip a control header: what it names is dropped only
if nobody needs it for the call's identity.
"""

from __future__ import annotations

from msgspec import Struct

from ledger.result import HOP_BY_HOP, connection_tokens
from proxy.forward import Header, Headers
from proxy.problems import Kind, Refused

CONTROL_BYTES_MAX = 255
"""Longer identities are mistakes or attacks; they would be kept in every record and log line."""

RUN, CALL, THREAD, STEP, USER = b"x-run-id", b"x-tool-call-id", b"x-thread-id", b"x-step-id", b"x-user-id"
CORRELATION = (RUN, CALL, THREAD, STEP, USER)
ALWAYS_CONTROL = frozenset((*CORRELATION, b"x-tenant-id", b"idempotency-key"))

VIA = (b"Via", b"1.1 holdfast")

_REQUEST_DROPPED = HOP_BY_HOP | {b"content-length", b"expect", b"http2-settings"}
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close"})
_OURS = (b"holdfast-", b"idempotent-replayed")
_REPLY_DROPPED = HOP_BY_HOP


class Incoming(Struct):
    """A request's fields, sorted in one pass.

    controls       lower-case name to value, for correlation fields and whatever policies name.
    onward         what goes to the tool, without framing.
    content_type   lower-case, empty if absent.
    patience_ms    from `Prefer: wait=N` (RFC 7240, 4.3), else None.
    """

    controls: dict[bytes, bytes]
    onward: list[Header]
    content_type: bytes = b""
    content_length: int | None = None
    transfer_encoding: bytes = b""
    expects_continue: bool = False
    patience_ms: int | None = None

    def text(self, name: bytes) -> str:
        """Return a control field as text, empty if absent. Bytes that are no UTF-8 survive as surrogates."""
        value = self.controls.get(name)
        return "" if value is None else value.decode("utf-8", "surrogateescape")


def sort_request(raw: Headers, named: frozenset[bytes]) -> Incoming:
    """Sort a request's fields. `named` are the control fields of all policies, lower case. Raises `Refused` for a control
    field that is doubled, too long, disguised or not text, and for framing that contradicts itself."""
    result = Incoming({}, [])
    onward = result.onward
    connection = False
    for field in raw:
        name = field[0].lower()
        if name in named:
            _take_control(result.controls, name, field[1])
            onward.append(field)
        elif name in _REQUEST_DROPPED:
            connection = _note_framing(result, name, field[1]) or connection
        elif name == b"prefer":
            _take_preference(result, field)
        elif not name.startswith(_OURS):
            if name == b"content-type":
                result.content_type = field[1].lower()
            elif b"_" in name and name.replace(b"_", b"-") in named:
                raise Refused(Kind.BAD_REQUEST, f"header {name.decode('latin-1')!r} imitates a control header: use hyphens")
            onward.append(field)
    if connection:
        dropped = connection_tokens(raw) - named
        result.onward = [field for field in onward if field[0].lower() not in dropped]
    return result


def _take_control(controls: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    label = name.decode("latin-1")
    if name in controls:
        raise Refused(Kind.BAD_REQUEST, f"header {label!r} appears twice: send it once")
    if name != b"authorization":
        if len(value) > CONTROL_BYTES_MAX:
            raise Refused(Kind.BAD_REQUEST, f"header {label!r} is longer than {CONTROL_BYTES_MAX} bytes")
        if not value.isascii() or not value.decode("ascii").isprintable():
            raise Refused(Kind.BAD_REQUEST, f"header {label!r} holds characters other than printable ASCII")
    controls[name] = value


def _note_framing(result: Incoming, name: bytes, value: bytes) -> bool:
    """Note what is between the caller and us only; say whether Connection may name further fields of that kind."""
    if name == b"content-length":
        if not value.isdigit():
            raise Refused(Kind.BAD_REQUEST, "Content-Length is not a number", close=True)
        if result.content_length is not None:
            raise Refused(Kind.BAD_REQUEST, "Content-Length appears twice", close=True)
        result.content_length = int(value)
    elif name == b"transfer-encoding":
        coding = value.strip().lower()
        result.transfer_encoding += b"," + coding if result.transfer_encoding else coding
    elif name == b"expect":
        result.expects_continue = value.strip().lower() == b"100-continue"
    return name == b"connection" and value.lower() not in _PLAIN_CONNECTION


def _take_preference(result: Incoming, field: Header) -> None:
    """Consume `wait`; what else the caller prefers is the tool's business and goes on."""
    others = []
    for preference in field[1].split(b","):
        name, _, value = preference.strip().partition(b"=")
        if name.strip().lower() == b"wait":
            seconds = value.strip().strip(b'"')
            if not seconds.isdigit() or len(seconds) > 6:
                raise Refused(Kind.BAD_REQUEST, "Prefer: wait is not a whole number of seconds")
            result.patience_ms = int(seconds) * 1_000
        elif preference.strip():
            others.append(preference.strip())
    if others:
        result.onward.append((field[0], b", ".join(others)))


def from_tool(headers: Headers) -> Headers:
    """Return a reply's fields as they go to the caller who asked: without those of the connection, and without any that
    pretend to be ours."""
    named = connection_tokens(headers)
    return tuple(
        field
        for field in headers
        if (name := field[0].lower()) not in _REPLY_DROPPED and name not in named and not name.startswith(_OURS)
    )


def is_json(content_type: bytes) -> bool:
    """Say whether a Content-Type declares JSON; a request without one is given the benefit of the doubt."""
    media = content_type.partition(b";")[0].strip()
    return not media or media == b"application/json" or media.endswith(b"+json")
