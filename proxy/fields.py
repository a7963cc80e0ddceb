"""Header fields on their way through: which go to the tool, which come back, and which are Holdfast's own.

Everything passes byte for byte, in its order and case, but for the fields of one connection (RFC 9110, 7.6.1) and those
that Holdfast itself consumes or sets. A `Connection` field cannot strip a control header: what it names is dropped only
if nobody needs it for the call's identity.
"""

from __future__ import annotations

import enum

from ledger.result import HOP_BY_HOP, connection_tokens
from proxy.forward import Header, Headers
from proxy.problems import Kind, Refused

CONTROL_BYTES_MAX = 255
"""Longer identities are mistakes or attacks; they would be kept in every record and log line."""

RUN, CALL, THREAD, STEP, USER = b"x-run-id", b"x-tool-call-id", b"x-thread-id", b"x-step-id", b"x-user-id"
CORRELATION = (RUN, CALL, THREAD, STEP, USER)
ALWAYS_CONTROL = frozenset((*CORRELATION, b"x-tenant-id", b"idempotency-key"))

SPELLINGS_MAX = 1_000
"""Names remembered; a flood of made-up ones starts the memory anew."""

VIA = (b"Via", b"1.1 holdfast")

_REQUEST_DROPPED = HOP_BY_HOP | {b"content-length", b"expect", b"http2-settings"}
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close"})
_OURS = (b"holdfast-", b"idempotent-replayed")


class Incoming:
    """A request's fields, sorted in one pass.

    controls       lower-case name to text, for correlation fields and whatever policies name. onward         what goes
    to the tool, without framing. content_type   lower-case, empty if absent. patience_ms    from `Prefer: wait=N` (RFC
    7240, 4.3), else None. host_at        where Host is among them, -1 if it is missing. upgrades       another protocol
    was asked for; it is not offered, and what follows the request is lost in the parser.
    """

    __slots__ = ("content_length", "content_type", "controls", "expects_continue", "host_at", "onward", "patience_ms",
                 "transfer_encoding", "upgrades")  # fmt: skip

    def __init__(self) -> None:
        self.controls: dict[bytes, str] = {}
        self.onward: list[Header] = []
        self.content_type = b""
        self.content_length: int | None = None
        self.transfer_encoding = b""
        self.expects_continue = False
        self.patience_ms: int | None = None
        self.upgrades = False
        self.host_at = -1

    def for_tool(self, authority: bytes, *, replace: bool) -> Headers:
        """Return the fields that go to the tool. A request without Host (HTTP/1.0) gets the tool's `authority`, and so
        does every request if `replace` (decision 0005)."""
        if self.host_at < 0:
            return ((b"Host", authority), *self.onward)
        if replace:
            self.onward[self.host_at] = (self.onward[self.host_at][0], authority)
        return tuple(self.onward)

    def text(self, name: bytes) -> str:
        """Return a control field, empty if absent. Bytes that are no UTF-8 survive as surrogates."""
        return self.controls.get(name, "")


class _Part(enum.Enum):
    """What a request's field is to us."""

    CONTROL = enum.auto()
    FRAMING = enum.auto()
    PREFER = enum.auto()
    CONTENT_TYPE = enum.auto()
    HOST = enum.auto()
    OURS = enum.auto()
    IMITATION = enum.auto()
    PLAIN = enum.auto()


_NAMED_PARTS = {b"prefer": _Part.PREFER, b"content-type": _Part.CONTENT_TYPE, b"host": _Part.HOST}


class Sorter:
    """Sorts requests' fields. `controls` are the control fields of all policies, lower case.

    What a name means is looked up by its spelling: callers send the same few over and over.
    """

    def __init__(self, controls: frozenset[bytes]) -> None:
        self._controls = controls
        self._known: dict[bytes, tuple[_Part, bytes]] = {}

    def sort(self, raw: Headers) -> Incoming:
        """Raises `Refused` for a control field that is doubled, too long, disguised or not text, and for framing that
        contradicts itself."""
        result = Incoming()
        onward, known = result.onward, self._known
        connection = False
        for field in raw:
            part, name = known.get(field[0]) or self._learn(field[0])
            if part is _Part.PLAIN:
                onward.append(field)
            elif part is _Part.CONTROL:
                _take_control(result.controls, name, field[1])
                onward.append(field)
            elif part is _Part.FRAMING:
                connection = _note_framing(result, name, field[1]) or connection
            elif part is _Part.CONTENT_TYPE:
                result.content_type = field[1].lower()
                onward.append(field)
            elif part is _Part.HOST:
                if result.host_at >= 0:
                    raise Refused(Kind.BAD_REQUEST, "Host appears twice", close=True)
                result.host_at = len(onward)
                onward.append(field)
            elif part is _Part.PREFER:
                _take_preference(result, field)
            elif part is _Part.IMITATION:
                raise Refused(
                    Kind.BAD_REQUEST, f"header {name.decode('latin-1')!r} imitates a control header: use hyphens"
                )
        if connection:
            _drop(result, connection_tokens(raw) - self._controls - {b"host"})
        return result

    def _learn(self, spelling: bytes) -> tuple[_Part, bytes]:
        if len(self._known) >= SPELLINGS_MAX:
            self._known.clear()
        name = spelling.lower()
        learnt = self._known[spelling] = self._part(name), name
        return learnt

    def _part(self, name: bytes) -> _Part:
        if name in self._controls:
            return _Part.CONTROL
        if name in _REQUEST_DROPPED:
            return _Part.FRAMING
        if name.startswith(_OURS):
            return _Part.OURS
        if b"_" in name and name.replace(b"_", b"-") in self._controls:
            return _Part.IMITATION
        return _NAMED_PARTS.get(name, _Part.PLAIN)


def _drop(result: Incoming, names: frozenset[bytes]) -> None:
    """Take out what a Connection field names."""
    before = result.onward[: max(result.host_at, 0)]
    result.host_at -= sum(field[0].lower() in names for field in before)
    result.onward = [field for field in result.onward if field[0].lower() not in names]


def _take_control(controls: dict[bytes, str], name: bytes, value: bytes) -> None:
    text = value.decode("utf-8", "surrogateescape")
    if name in controls:
        raise Refused(Kind.BAD_REQUEST, f"header {name.decode('latin-1')!r} appears twice: send it once")
    if name != b"authorization":
        if len(value) > CONTROL_BYTES_MAX:
            raise Refused(
                Kind.BAD_REQUEST, f"header {name.decode('latin-1')!r} is longer than {CONTROL_BYTES_MAX} bytes"
            )
        if not text.isascii() or not text.isprintable():
            detail = f"header {name.decode('latin-1')!r} holds characters other than printable ASCII"
            raise Refused(Kind.BAD_REQUEST, detail)
    controls[name] = text


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
    elif name == b"upgrade":
        result.upgrades = True
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


_passes: dict[bytes, bool] = {}
"""Whether a reply's field goes on to the caller, by its spelling; tools send the same few over and over."""


def from_tool(headers: Headers) -> Headers:
    """Return a reply's fields as they go to the caller who asked: without those of the connection, and without any that
    pretend to be ours."""
    passed = []
    named: frozenset[bytes] = frozenset()
    for field in headers:
        passes = _passes.get(field[0])
        if passes is None:
            passes = _learn_reply(field[0])
        if passes:
            passed.append(field)
        elif field[0].lower() == b"connection" and field[1].lower() not in _PLAIN_CONNECTION:
            named = connection_tokens(headers)
    if named:
        return tuple(field for field in passed if field[0].lower() not in named)
    return tuple(passed)


def _learn_reply(spelling: bytes) -> bool:
    if len(_passes) >= SPELLINGS_MAX:
        _passes.clear()
    name = spelling.lower()
    passes = _passes[spelling] = name not in HOP_BY_HOP and not name.startswith(_OURS)
    return passes


def is_json(content_type: bytes) -> bool:
    """Say whether a Content-Type declares JSON; a request without one is given the benefit of the doubt."""
    media = content_type.partition(b";")[0].strip()
    return not media or media == b"application/json" or media.endswith(b"+json")
