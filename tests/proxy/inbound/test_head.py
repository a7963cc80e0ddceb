"""What a head says, and which heads say nothing that all would agree upon."""

from __future__ import annotations

import collections

import pytest

from proxy.inbound import head
from proxy.inbound.head import FIELDS_MAX, LINE_BYTES_MAX, NAMES_BYTES_MAX, SHAPES_MAX, Head, parse, probe, read_head
from proxy.problems import Kind, Refused


def a_head(*lines: bytes, line: bytes = b"POST /tools/act?x=1 HTTP/1.1") -> Head:
    """Return what a head with Host says."""
    return read_head(b"\r\n".join((line, b"Host: a", *lines, b"", b"")))


def test_head_is_read_byte_for_byte() -> None:
    """Target, names, values: nothing is decoded, folded, or put in order."""
    fields = ((b"x-ODD", b"\xff odd"), (b"Cookie", b"a"), (b"X-Empty", b""), (b"Cookie", b"b"))
    found = a_head(*(b"%b: %b" % field for field in fields), line=b"M-SEARCH /a%2Fb//../x?q=%zz? HTTP/1.1")
    assert found.fields == ((b"Host", b"a"), *fields)
    line = found.line
    assert (line.method, line.raw_method, line.minor) == ("M-SEARCH", b"M-SEARCH", 1)
    assert (line.target, line.raw_target, line.path) == ("/a%2Fb//../x?q=%zz?", b"/a%2Fb//../x?q=%zz?", "/a%2Fb//../x")


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    """RFC 9110, 5.5: an identity means the same with and without, or the call that it names would happen twice."""
    found = a_head(b"X-Run-Id: \t r 1 \t", b"Content-Length: 5 ", b"X-Empty: \t", b"X-Run-Id:r")
    assert found.fields[1:] == (
        (b"X-Run-Id", b"r 1"),
        (b"Content-Length", b"5"),
        (b"X-Empty", b""),
        (b"X-Run-Id", b"r"),
    )
    assert a_head(b"X-Run-Id: r\t").fields[1] == (b"X-Run-Id", b"r")


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ((), 0), ((b"Content-Length: 0",), 0),
        ((b"content-LENGTH:  17 ",), 17), ((b"Transfer-Encoding: chunked",), None),
        ((b"Transfer-encoding: CHUNKED",), None), ((b"Content-Length: 007",), 7),
    ],
)  # fmt: skip
def test_body_has_one_length(lines: tuple[bytes, ...], length: int | None) -> None:
    """Announced, none, or as many bytes as the chunks hold."""
    assert a_head(*lines).length == length


KEPT = [
    ("1.1", (), True), ("1.1", (b"Connection: close",), False), ("1.1", (b"Connection: keep-alive",), True),
    ("1.1", (b"Connection: X-Hop,  Close",), False), ("1.1", (b"Connection: x", b"connection: close"), False),
    ("1.1", (b"Connection: closed",), True), ("1.0", (), False), ("1.0", (b"Connection: Keep-Alive",), True),
    ("1.0", (b"Connection: keep-alive, close",), False), ("1.1", (b"Upgrade: h2c", b"Connection: Upgrade"), False),
    ("1.1", (b"Upgrade: websocket",), False),
]  # fmt: skip


@pytest.mark.parametrize(("version", "lines", "kept"), KEPT)
def test_connection_goes_on_unless_somebody_wants_its_end(version: str, lines: tuple[bytes, ...], kept: bool) -> None:
    """RFC 9112, 9.3; and nothing follows where another protocol could."""
    assert a_head(*lines, line=f"GET / HTTP/{version}".encode()).keep_alive is kept


def test_only_a_modern_caller_is_waited_for() -> None:
    """RFC 9110, 10.1.1: HTTP/1.0 does not know of it, and nothing else can be expected."""
    expect = b"Expect: 100-Continue"
    assert a_head(expect).expects
    assert not a_head(expect, line=b"GET / HTTP/1.0").expects
    assert not a_head(b"Expect: 100-continued").expects
    assert not a_head().expects


REFUSED = {
    b"POST / HTTP/2.0": Kind.VERSION_REFUSED, b"POST / HTTP/0.9": Kind.VERSION_REFUSED,
    b"POST / HTTP/1.2": Kind.BAD_REQUEST, b"POST / HTTP/1.10": Kind.BAD_REQUEST, b"POST /": Kind.BAD_REQUEST,
    b"POST  / HTTP/1.1": Kind.BAD_REQUEST,
    b"POST /  HTTP/1.1": Kind.BAD_REQUEST, b"POST / HTTP/1.1 ": Kind.BAD_REQUEST,
    b"post / HTTP/1.1": Kind.BAD_REQUEST,
    b"MADEUP / HTTP/1.1": Kind.BAD_REQUEST, b"POST / RTSP/1.0": Kind.VERSION_REFUSED,
    b"POST http://b/ HTTP/1.1": Kind.BAD_REQUEST,
    b"POST * HTTP/1.1": Kind.BAD_REQUEST, b"POST a HTTP/1.1": Kind.BAD_REQUEST,
    b"CONNECT b:1 HTTP/1.1": Kind.METHOD_REFUSED, b"TRACE / HTTP/1.1": Kind.METHOD_REFUSED,
    b"POST /#a HTTP/1.1": Kind.BAD_REQUEST,
    b"POST /\xc3\xa9 HTTP/1.1": Kind.BAD_REQUEST, b"POST /\x7f HTTP/1.1": Kind.BAD_REQUEST,
    b"POST /a\tb HTTP/1.1": Kind.BAD_REQUEST, b"PRI * HTTP/2.0": Kind.BAD_REQUEST,
}  # fmt: skip


@pytest.mark.fault(17)
@pytest.mark.parametrize("line", REFUSED)
def test_request_line_of_two_meanings_is_refused(line: bytes) -> None:
    """Each time: what is remembered of lines makes no refusal an exception."""
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            a_head(line=line)
        assert (caught.value.kind, caught.value.close) == (REFUSED[line], True)


AMBIGUOUS = [
    (b"Content-Length: 5", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    (b"Content-Length: 5", b"Content-Length: 5"),
    (b"Content-Length: 5", b"content-length: 6"), (b"Content-Length: 5, 5",),
    (b"Content-Length: +5",), (b"Content-Length: 0x5",),
    (b"Content-Length:",), (b"Content-Length: 5 5",), (b"Content-Length: -1",),
    (b"Content-Length: " + b"9" * 19,), (b"Content-Length: \xc2\xb2",),
    (b"Content-Length: 1_0",), (b"Transfer-Encoding: gzip",),
    (b"Transfer-Encoding: chunked, chunked",), (b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: chunked"), (b"Transfer-Encoding:",),
    (b"Transfer-Encoding: identity",), (b"Transfer-Encoding: xchunked",),
    (b"Transfer-Encoding: \x0bchunked",), (b"Host: b",),
    (b"X-Odd : 1",), (b" X-Odd: 1",), (b"X-Odd: 1", b" 2"), (b"X-Odd: 1",
    b"\t2"), (b"X-Odd",), (b": 1",), (b"X-Odd: a\nX: b",), (b"X-Odd: a\rb",),
    (b"X-Odd: a\0b",), (b"X\0: a",), (b"X-Odd:\n 1",), (b"X-\xe9: 1",), (b"X(Y): 1",), (b"X-Odd: a\x7f",),
]  # fmt: skip


@pytest.mark.fault(17)
@pytest.mark.parametrize("lines", AMBIGUOUS, ids=lambda lines: b"|".join(lines).decode("latin-1"))
def test_fields_of_two_meanings_are_refused(lines: tuple[bytes, ...]) -> None:
    """Framing that contradicts itself, and lines that are none: refused, and closed (RFC 9112, 5.1, 6.1, 11.2)."""
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            a_head(*lines)
        assert (caught.value.kind.value.status, caught.value.close) == (400, True)


def test_coding_that_is_not_spoken_is_a_501_and_none_exists_in_http_1_0() -> None:
    """What llhttp lets through, we do not."""
    with pytest.raises(Refused) as caught:
        a_head(b"Transfer-Encoding: gzip, chunked")
    assert caught.value.kind is Kind.NOT_IMPLEMENTED
    with pytest.raises(Refused) as caught:
        a_head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0")
    assert caught.value.kind is Kind.BAD_REQUEST


def test_host_may_be_missing_in_http_1_0_only() -> None:
    """RFC 9112, 3.2."""
    assert read_head(b"GET / HTTP/1.0\r\n\r\n").fields == ()
    with pytest.raises(Refused):
        read_head(b"GET / HTTP/1.1\r\nX: 1\r\n\r\n")


def test_lines_and_their_number_are_bounded() -> None:
    """To the byte and the field."""
    name = b"X: "
    assert a_head(name + b"y" * (LINE_BYTES_MAX - len(name))).values[1]
    assert len(a_head(*(b"X-%d: y" % number for number in range(FIELDS_MAX - 1))).values) == FIELDS_MAX
    for lines in ((name + b"y" * LINE_BYTES_MAX,), tuple(b"X-%d: y" % number for number in range(FIELDS_MAX))):
        with pytest.raises(Refused) as caught:
            a_head(*lines)
        assert caught.value.kind is Kind.BAD_REQUEST
    with pytest.raises(Refused):
        a_head(line=b"GET /" + b"a" * LINE_BYTES_MAX + b" HTTP/1.1")


def test_made_up_names_do_not_fill_the_memory() -> None:
    """What is remembered of names is bounded, and forgetting changes nothing."""
    for number in range(SHAPES_MAX + 10):
        a_head(b"X-%d: 1" % number)
    assert len(head._shapes) <= SHAPES_MAX
    assert a_head(b"X-0: 1").fields[1] == (b"X-0", b"1")
    long = a_head(b"X" * NAMES_BYTES_MAX + b": 1").shape
    assert long.names not in head._shapes
    assert a_head(b"X" * NAMES_BYTES_MAX + b": 1").shape.names == long.names


def test_leniency_of_llhttp_is_off() -> None:
    """What its dangerous leniencies would take is refused by the parser itself, before any check of ours."""
    for data in (
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
    ):
        with pytest.raises(Refused):
            parse(data, None)
        with pytest.raises(Refused):
            collections.deque(map(probe(), (bytes([byte]) for byte in data)))
