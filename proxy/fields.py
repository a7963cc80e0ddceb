"""Header fields on their way through: which go to the tool, which come back, and which are Holdfast's own.

Everything passes byte for byte, in its order and case, but for the fields of one connection (RFC 9110, 7.6.1) and those
that Holdfast itself consumes or sets. A `Connection` field cannot strip a control header: what it names is dropped only
if nobody needs it for the call's identity.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from ledger.result import HOP_BY_HOP, OURS, connection_tokens, signs_as_us
from proxy.forward import Header, Headers
from proxy.layout import (
    CONTENT_TYPE,
    CONTROL,
    FRAMING,
    HOST,
    IMITATION,
    OURS_PART,
    PLAIN,
    PREFER,
    SECRET,
    TRACE,
    Layout,
)
from proxy.problems import Kind, Refused

CONTROL_BYTES_MAX = 255
"""Longer identities are mistakes or attacks; they would be kept in every record and log line."""

RUN, CALL, THREAD, STEP, USER = b"x-run-id", b"x-tool-call-id", b"x-thread-id", b"x-step-id", b"x-user-id"
CORRELATION = (RUN, CALL, THREAD, STEP, USER)
ALWAYS_CONTROL = frozenset((*CORRELATION, b"x-tenant-id", b"idempotency-key"))

LAYOUTS_MAX = 256
SPELLINGS_MAX = 1_000
NAMES_BYTES_MAX = 2_048
"""Lists of names and names that are remembered, and how long they may be; a flood of made-up ones starts the memory
anew."""

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*")
CREDENTIAL = b"authorization"
VIA = (b"Via", b"1.1 holdfast")

_REQUEST_DROPPED = HOP_BY_HOP | {b"content-length", b"expect", b"http2-settings"}
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close"})


class Incoming:
    """A request's fields, sorted in one pass. What frames the request is `proxy.inbound`'s.

    controls      lower-case name to text, for correlation fields and whatever policies name.
    credential    what Authorization says, if a policy looks at it; of any length.
    content_type  lower-case, empty if absent.
    patience_ms   from `Prefer: wait=N` (RFC 7240, 4.3), else None.
    answers_async whether `Prefer: respond-async` was said (RFC 7240, 4.1); it stays in its field for whoever heeds it.
    trace_id      of a W3C traceparent, for the log; the field itself goes on to the tool.
    host_at       where Host is among those that go on, -1 if it is missing.
    """

    __slots__ = ("_layout", "_onward", "_values", "answers_async", "content_type", "controls", "credential", "host_at",
                 "patience_ms", "trace_id")  # fmt: skip

    def __init__(self, layout: Layout | None = None, values: Sequence[bytes] = ()) -> None:
        self.controls: dict[bytes, str] = {}
        self.content_type = b""
        self.patience_ms: int | None = None
        self.answers_async = False
        self.host_at = -1
        self.credential: str | None = None
        self.trace_id = ""
        self._layout = layout
        self._values = values
        self._onward: list[Header] | None = None

    @property
    def onward(self) -> list[Header]:
        """What goes to the tool, without framing. Replays never ask."""
        if self._onward is None:
            layout, values = self._layout, self._values
            self._onward = [] if layout is None else [(name, values[at]) for name, at in layout.onward]
        return self._onward

    @onward.setter
    def onward(self, fields: list[Header]) -> None:
        self._onward = fields

    def for_tool(self, authority: bytes, *, replace: bool) -> Headers:
        """Return the fields that go to the tool. A request without Host (HTTP/1.0) gets the tool's `authority`, and so
        does every request if `replace` (decision 0005)."""
        onward = self.onward
        if self.host_at < 0:
            return ((b"Host", authority), *onward)
        if replace:
            onward[self.host_at] = (onward[self.host_at][0], authority)
        return tuple(onward)


_NAMED_PARTS = {b"prefer": PREFER, b"content-type": CONTENT_TYPE, b"host": HOST, b"traceparent": TRACE}


class Sorter:
    """Sorts requests' fields. `controls` are the control fields of all policies, lower case.

    What names mean is looked up by their spelling, all of a request at once: callers send the same few over and over.
    """

    def __init__(self, controls: frozenset[bytes]) -> None:
        self._controls = controls
        self._known: dict[bytes, tuple[int, bytes]] = {}
        self._layouts: dict[tuple[bytes, ...], Layout] = {}

    def sort(self, raw: Headers) -> Incoming:
        """Raises `Refused` for a control field that is doubled, too long, disguised or not text."""
        return self.sort_values(tuple([name for name, _ in raw]), [value for _, value in raw])

    def sort_values(self, names: tuple[bytes, ...], values: Sequence[bytes]) -> Incoming:
        """Do the same with names and values apart, as they come in."""
        layout = self._layouts.get(names) or self._lay_out(names)
        return (_at_a_glance(layout, values) if layout.simple else None) or self.sort_each(names, values)

    def sort_each(self, names: tuple[bytes, ...], values: Sequence[bytes]) -> Incoming:
        """Do the same without a shortcut."""
        raw = tuple(zip(names, values, strict=True))
        meanings = self._meanings(names)
        result = Incoming()
        onward: list[Header] = []
        result.onward = onward
        controls = result.controls
        connection = False
        found = 0
        for field, (part, name) in zip(raw, meanings, strict=True):
            if part == CONTROL:
                controls[name] = str(field[1], "utf-8", "surrogateescape")
                found += 1
            elif part == FRAMING:
                connection = connection or (name == b"connection" and field[1].lower() not in _PLAIN_CONNECTION)
                continue
            elif part and not _take_other(result, part, name, field):
                continue
            onward.append(field)
        _check_controls(values, meanings, controls, found)
        if connection:
            _drop(result, connection_tokens(raw) - self._controls - {b"host"})
        return result

    def _lay_out(self, names: tuple[bytes, ...]) -> Layout:
        layout = Layout(names, self._meanings(names))
        if sum(map(len, names)) <= NAMES_BYTES_MAX:
            if len(self._layouts) >= LAYOUTS_MAX:
                self._layouts.clear()
            self._layouts[names] = layout
        return layout

    def _meanings(self, names: tuple[bytes, ...]) -> list[tuple[int, bytes]]:
        return [self._known.get(name) or self._learn(name) for name in names]

    def _learn(self, spelling: bytes) -> tuple[int, bytes]:
        name = spelling.lower()
        learnt = self._part(name), name
        if len(spelling) <= NAMES_BYTES_MAX:
            if len(self._known) >= SPELLINGS_MAX:
                self._known.clear()
            self._known[spelling] = learnt
        return learnt

    def _part(self, name: bytes) -> int:
        if name in self._controls:
            return SECRET if name == CREDENTIAL else CONTROL
        if name in _REQUEST_DROPPED:
            return FRAMING
        if name.startswith(OURS):
            return OURS_PART
        if b"_" in name and name.replace(b"_", b"-") in self._controls:
            return IMITATION
        return _NAMED_PARTS.get(name, PLAIN)


def _at_a_glance(layout: Layout, values: Sequence[bytes]) -> Incoming | None:
    """Return the fields if nothing about them is uncommon, doubtful or wrong: a test holds it against `sort_each`."""
    for at in layout.connection_at:
        if values[at].lower() not in _PLAIN_CONNECTION:
            return None
    incoming = Incoming(layout, values)
    controls = incoming.controls
    for name, at in layout.controls:
        controls[name] = str(values[at], "utf-8", "surrogateescape")
    texts = "".join(controls.values())
    if not (len(texts) <= CONTROL_BYTES_MAX and texts.isascii() and texts.isprintable()):
        return None
    incoming.host_at = layout.host_at
    if layout.content_type_at >= 0:
        incoming.content_type = values[layout.content_type_at].lower()
    if layout.credential_at >= 0:
        incoming.credential = str(values[layout.credential_at], "utf-8", "surrogateescape")
    if layout.trace_at >= 0:
        incoming.trace_id = _trace_id(values[layout.trace_at])
    return incoming


def _trace_id(value: bytes) -> str:
    return value[3:35].decode("ascii") if _TRACEPARENT.fullmatch(value) else ""


def _take_other(result: Incoming, part: int, name: bytes, field: Header) -> bool:
    """Take a field that is neither plain nor a control nor framing; say whether it goes on to the tool."""
    if part == HOST:
        if result.host_at >= 0:
            raise Refused(Kind.BAD_REQUEST, "Host appears twice", close=True)
        result.host_at = len(result.onward)
        return True
    if part == CONTENT_TYPE:
        result.content_type = field[1].lower()
        return True
    if part == SECRET:
        # A credential may be long, and is looked at by nobody but the fingerprint.
        if result.credential is not None:
            raise _bad_control(name, field[1], doubled=True)
        result.credential = field[1].decode("utf-8", "surrogateescape")
        return True
    if part == TRACE:
        result.trace_id = _trace_id(field[1]) or result.trace_id
        return True
    if part == PREFER:
        _take_preference(result, field)
    elif part == IMITATION:
        raise Refused(Kind.BAD_REQUEST, f"header {name.decode('latin-1')!r} imitates a control header: use hyphens")
    return False


def _check_controls(
    values: Sequence[bytes], meanings: list[tuple[int, bytes]], controls: dict[bytes, str], found: int
) -> None:
    """Look at all control fields at once, and at each only if one of them is bad."""
    texts = "".join(controls.values())
    if found == len(controls) and len(texts) <= CONTROL_BYTES_MAX and texts.isascii() and texts.isprintable():
        return
    seen = set()
    for value, (part, name) in zip(values, meanings, strict=True):
        if part == CONTROL:
            text = str(value, "utf-8", "surrogateescape")
            if name in seen or len(value) > CONTROL_BYTES_MAX or not (text.isascii() and text.isprintable()):
                raise _bad_control(name, value, doubled=name in seen)
            seen.add(name)


def _bad_control(name: bytes, value: bytes, *, doubled: bool) -> Refused:
    label = name.decode("latin-1")
    if doubled:
        return Refused(Kind.BAD_REQUEST, f"header {label!r} appears twice: send it once")
    if len(value) > CONTROL_BYTES_MAX:
        return Refused(Kind.BAD_REQUEST, f"header {label!r} is longer than {CONTROL_BYTES_MAX} bytes")
    return Refused(Kind.BAD_REQUEST, f"header {label!r} holds characters other than printable ASCII")


def _drop(result: Incoming, names: frozenset[bytes]) -> None:
    """Take out what a Connection field names."""
    before = result.onward[: max(result.host_at, 0)]
    result.host_at -= sum(field[0].lower() in names for field in before)
    result.onward = [field for field in result.onward if field[0].lower() not in names]


def _take_preference(result: Incoming, field: Header) -> None:
    """Consume `wait`; what else the caller prefers is the tool's business and goes on."""
    others = []
    for preference in field[1].split(b","):
        name, _, value = preference.strip().partition(b"=")
        if name.strip().lower() == b"wait":
            seconds = value.partition(b";")[0].strip().strip(b'"')
            if not seconds.isdigit() or len(seconds) > 6:
                raise Refused(Kind.BAD_REQUEST, "Prefer: wait is not a whole number of seconds")
            if result.patience_ms is None:  # of a preference that stands twice the first counts (RFC 7240, 2)
                result.patience_ms = int(seconds) * 1_000
        elif preference.strip():
            others.append(preference.strip())
            result.answers_async = result.answers_async or _is_respond_async(preference)
    if others:
        result.onward.append((field[0], b", ".join(others)))


def _is_respond_async(preference: bytes) -> bool:
    return preference.partition(b";")[0].strip().lower() == b"respond-async"


def without_respond_async(headers: Headers) -> Headers:
    """Return a request's fields without that preference, which Holdfast has taken on: were the tool to heed it as well,
    its own 202 would be the result."""
    kept: list[Header] = []
    for name, value in headers:
        if name.lower() != b"prefer":
            kept.append((name, value))
            continue
        others = [one.strip() for one in value.split(b",") if not _is_respond_async(one)]
        if others:
            kept.append((name, b", ".join(others)))
    return tuple(kept)


_passes: dict[bytes, bool] = {}
"""Whether a reply's field goes on to the caller, by its spelling; tools send the same few over and over."""


def from_tool(headers: Headers) -> Headers:
    """Return a reply's fields, of a 1xx, or its trailers, as they go to the caller who asked: without those of the
    connection, and without any that pretend to be ours."""
    passed = []
    named: frozenset[bytes] = frozenset()
    for field in headers:
        passes = _passes.get(field[0])
        if passes is None:
            passes = _learn_reply(field[0])
        if passes:
            if len(field[0]) != 12 or not signs_as_us(field):
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
    passes = _passes[spelling] = name not in HOP_BY_HOP and not name.startswith(OURS)
    return passes


@functools.lru_cache(maxsize=256)
def is_json(content_type: bytes) -> bool:
    """Say whether a Content-Type declares JSON; a request without one is given the benefit of the doubt."""
    media = content_type.partition(b";")[0].strip()
    return not media or media == b"application/json" or media.endswith(b"+json")
