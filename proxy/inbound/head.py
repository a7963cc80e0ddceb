"""What a request's head says, and the refusal of every head that two parties could read differently.

llhttp (through httptools, no lenient flag set) judges the bytes; whoever gets to see a head here has it whole and gives
it to a parser of its own, so no request leaves anything behind in the next one's. What llhttp lets through and we do
not (RFC 9112, 3.2, 6.1, 6.3 and 11.2) is refused below. Pure: bytes in, a `Head` or a `Refused` out.

Callers send the same request line and the same names of fields over and over. Both are judged once, by their spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from msgspec import Struct

from proxy.forward import Headers
from proxy.problems import Kind, Refused

LINE_BYTES_MAX = 16_384
"""Of the request line, and of each field: what common clients and gateways stay below."""

FIELDS_MAX = 128
SHAPES_MAX = 256
NAMES_BYTES_MAX = 2_048
"""Lists of field names that are remembered, and how long they may be; a flood of made-up ones starts it all anew."""

REMEMBERED_BYTES_MAX = 512
"""Longer request lines are judged each time: a thousand of the longest would be a memory of sixteen megabytes."""

LENGTH_DIGITS_MAX = 18
"""More than any body has; and Python would take quadratic time for a number of thousands of digits."""

MINORS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})
MALFORMED = "the request is not well-formed HTTP/1.1"


class Line(Struct, frozen=True, gc=False):
    """A request line. `target` and `path` (without the query) are ASCII; `raw_target` is byte for byte what came."""

    method: str
    target: str
    path: str
    raw_method: bytes
    raw_target: bytes
    minor: int


class Shape:
    """A list of field names: `names` as they are spelled, `lower` in lower case, and where what frames the request is.

    Positions are -1 where there is no such field. `fault` is what is wrong with every request of these names.
    """

    __slots__ = ("coding_at", "connection_at", "expect_at", "fault", "host_at", "length_at", "lower", "names", "plain",
                 "upgrades")  # fmt: skip

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = names
        self.lower = lower = tuple(name.lower() for name in names)

        def at(name: bytes) -> int:
            return lower.index(name) if name in lower else -1

        self.length_at = at(b"content-length")
        self.coding_at = at(b"transfer-encoding")
        self.expect_at = at(b"expect")
        self.connection_at = tuple(number for number, name in enumerate(lower) if name == b"connection")
        self.host_at = at(b"host")
        self.upgrades = b"upgrade" in lower
        self.plain = self.coding_at < 0 and self.expect_at < 0 and not self.connection_at and not self.upgrades
        self.fault = ""
        for name in (b"content-length", b"transfer-encoding", b"host"):
            if lower.count(name) > 1:
                self.fault = f"{name.title().decode()} appears twice"
        if self.length_at >= 0 and self.coding_at >= 0:
            self.fault = "Content-Length and Transfer-Encoding exclude each other"


class Head(Struct):
    """A request's head. The body has `length` bytes, or comes in chunks if that is None.

    expects     the caller waits to be told to go on before it sends the body; HTTP/1.0 does not know of that.
    keep_alive  the caller would send another request on this connection.
    """

    line: Line
    shape: Shape
    values: list[bytes]
    length: int | None
    expects: bool
    keep_alive: bool

    @property
    def fields(self) -> Headers:
        """The header fields in their order, byte for byte but for white space around values."""
        return tuple(zip(self.shape.names, self.values, strict=True))


class _Callbacks:
    """What a parser finds its callbacks on: asking for those that are not there would cost an exception each."""

    __slots__ = ("on_header",)
    on_url = on_body = on_message_begin = on_headers_complete = on_message_complete = None
    on_chunk_header = on_chunk_complete = None

    def __init__(self, on_header: Callable[[bytes, bytes], object] | None) -> None:
        self.on_header = on_header


_shapes: dict[tuple[bytes, ...], Shape] = {}


def read_head(section: bytes) -> Head:
    """Return the head that `section` is, from the request line to the empty line. Raises `Refused`."""
    count = section.count(b"\r\n") - 2
    if len(section) > LINE_BYTES_MAX and max(map(len, section.split(b"\r\n"))) > LINE_BYTES_MAX:
        raise _bad(f"a line of more than {LINE_BYTES_MAX} bytes")
    if count > FIELDS_MAX:
        raise _bad(f"more than {FIELDS_MAX} header fields")
    unique: dict[bytes, bytes] = {}
    parse(section, unique.setdefault)
    # As many fields as lines, or some came twice, which a dict does not show. It also means that llhttp has seen the
    # section end where we do: it tells of a field when the next one begins or the section is over.
    if len(unique) == count:
        names = tuple(unique)
        values: Iterable[bytes] = unique.values()
    else:
        names, values = _all_fields(section, count)
    shape = _shapes.get(names) or _learn(names)
    end = section.find(b"\r\n")
    line = _remembered(section[:end]) if end <= REMEMBERED_BYTES_MAX else read_line(section[:end])
    # White space around a value is no part of it (RFC 9110, 5.5). llhttp drops what comes before, and lets none pass
    # but spaces and tabs; to look whether there is any after costs more than to drop it.
    return _judge(line, shape, list(map(bytes.rstrip, values)))


def parse(data: bytes, on_header: Callable[[bytes, bytes], object] | None) -> None:
    """Have llhttp read the beginning of a request, all of its head at most. Raises `Refused` if that is malformed."""
    try:
        HttpRequestParser(_Callbacks(on_header)).feed_data(data)
    except HttpParserUpgrade:
        pass  # what would follow is no business of this parser's anyway
    except HttpParserError as error:
        raise _bad(MALFORMED) from error


def probe() -> Callable[[bytes], None]:
    """Return what takes the pieces of a head as they come, and raises `Refused` as soon as no head can begin so."""
    parser = HttpRequestParser(_Callbacks(None))

    def feed(piece: bytes) -> None:
        try:
            parser.feed_data(piece)
        except HttpParserUpgrade:
            pass
        except HttpParserError as error:
            raise _bad(MALFORMED) from error

    return feed


def read_line(line: bytes) -> Line:
    """Judge a request line (RFC 9112, 3). Raises `Refused`: what is forwarded must mean the same to everybody."""
    words = line.split(b" ")
    if len(words) != 3:
        raise _bad(MALFORMED)
    method, target, version = words
    minor = MINORS.get(version)
    if minor is None:
        raise Refused(Kind.VERSION_REFUSED, "HTTP/1.1 and HTTP/1.0 are spoken here", close=True)
    if method in REFUSED_METHODS:
        raise Refused(Kind.METHOD_REFUSED, f"{method.decode('ascii')} is not forwarded", close=True)
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise _bad("the request target must be a path (origin form)")
    text = target.decode("latin-1")
    if not text.isascii() or not text.isprintable() or "#" in text:
        raise _bad("the request target must be percent-encoded ASCII without a fragment")
    return Line(method.decode("ascii"), text, text.partition("?")[0], method, target, minor)


_remembered = lru_cache(1024)(read_line)


def _judge(line: Line, shape: Shape, values: list[bytes]) -> Head:
    """Return the head with its framing, which is anybody's guess in none that gets here. Raises `Refused`."""
    if shape.fault:
        raise _bad(shape.fault)
    if shape.host_at < 0 and line.minor:
        raise _bad("the request has no Host (RFC 9112, 3.2)")
    length: int | None = 0
    if shape.length_at >= 0:
        digits = values[shape.length_at]
        if not digits.isdigit() or len(digits) > LENGTH_DIGITS_MAX:
            raise _bad("Content-Length is not a number")
        length = int(digits)
    if shape.plain:
        return Head(line, shape, values, length, expects=False, keep_alive=line.minor == 1)
    if shape.coding_at >= 0:
        _check_coding(values[shape.coding_at], line.minor)
        length = None
    expects = shape.expect_at >= 0 and values[shape.expect_at].lower() == b"100-continue"
    said = {token.strip(b" \t").lower() for at in shape.connection_at for token in values[at].split(b",")}
    kept = b"close" not in said and (line.minor == 1 or b"keep-alive" in said)
    # A protocol that was asked for is not offered. Somebody on the way may think that it was, so nothing may follow.
    return Head(line, shape, values, length, expects and line.minor == 1, kept and not shape.upgrades)


def _check_coding(coding: bytes, minor: int) -> None:
    if not minor:
        raise _bad("Transfer-Encoding does not exist in HTTP/1.0")
    if coding.lower() != b"chunked":
        raise Refused(Kind.NOT_IMPLEMENTED, "the only transfer coding supported is chunked", close=True)


def _all_fields(section: bytes, count: int) -> tuple[tuple[bytes, ...], list[bytes]]:
    """Return the names and the values of all fields, those that came twice included."""
    fields: list[tuple[bytes, bytes]] = []
    parse(section, lambda name, value: fields.append((name, value)))
    if len(fields) != count:
        raise _bad("an ambiguous end of the header section")
    return tuple([name for name, _ in fields]), [value for _, value in fields]


def _learn(names: tuple[bytes, ...]) -> Shape:
    shape = Shape(names)
    if sum(map(len, names)) <= NAMES_BYTES_MAX:
        if len(_shapes) >= SHAPES_MAX:
            _shapes.clear()
        _shapes[names] = shape
    return shape


def _bad(detail: str) -> Refused:
    return Refused(Kind.BAD_REQUEST, detail, close=True)
