"""What is read at a glance is what the reader would have read, and the common reply is."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.upstream.glance import SECTION_BYTES_MAX, SECTIONS_MAX, _read, glance
from proxy.upstream.head import BadReply, Head
from proxy.upstream.reply import FIELDS_MAX, ReplyReader

COMMON = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{"a"}'
FIELDS = (
    b"Content-Length: 5",
    b"content-length: 5",
    b"Content-Length: 05",
    b"CONTENT-LENGTH:5",
    b"Content-Length: 6",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: gzip",
    b"Connection: close",
    b"connection: Keep-Alive",
    b"CONNECTION: upgrade, Close",
    b"Upgrade: websocket",
    b"Content-Type: text/event-stream",
    b"content-type: application/json; charset=utf-8",
    b"Set-Cookie: a=b",
    b"Set-Cookie: c=d",
    b"X-Empty:",
    b"X-Spaces: \t a  b \t",
    b"X-Latin: \xfc",
    b"no colon",
    b" folded",
    b"X: \0",
    b"X: a\rb",
    b"X: a\nb: c",
    b"",
)
LINES = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 404 ",
    b"HTTP/1.1 404",
    b"HTTP/1.1 422 Of our own",
    b"HTTP/1.1 200 O\0K",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.0 200 OK",
    b"HTTP/2.0 200 OK",
)
REPLIES = st.builds(
    lambda line, fields, end, body: b"\r\n".join([line, *fields]) + end + body,
    st.sampled_from(LINES) | st.just(LINES[0]),
    st.lists(st.sampled_from(FIELDS), max_size=6) | st.permutations(FIELDS[:1] + FIELDS[7:18]).map(lambda f: f[:8]),
    st.sampled_from([b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\n"]),
    st.sampled_from([b"hello", b"hell\n", b"", b"hello\n", b"hell", b"5\r\nhello\r\n0\r\n\r\n", COMMON]),
)


def read(data: bytes) -> tuple[Head, bytes] | None:
    """Return what the reader makes of `data`, if it is exactly one reply whose length was announced."""
    reader = ReplyReader(b"POST")
    try:
        body = reader.feed(data)
    except BadReply:
        return None
    head = reader.head
    if head is None or head.framing != "length" or not reader.whole or reader.surplus or reader.interim:
        return None
    return head, body


@given(reply=REPLIES)
def test_a_glance_takes_nothing_but_what_the_reader_takes_and_reads_it_alike(reply: bytes) -> None:
    """Head and body are the same, whatever is combined; what the reader refuses or waits on is never taken."""
    assert glance(reply) in (None, read(reply))


@given(data=st.data())
def test_a_damaged_reply_is_not_taken_unless_the_reader_takes_it(data: st.DataObject) -> None:
    """A few bytes changed, lost or put in, anywhere."""
    damaged = bytearray(COMMON)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        assume(damaged)
    assert glance(bytes(damaged)) in (None, read(bytes(damaged)))


@pytest.mark.parametrize("cut", range(1, len(COMMON)))
def test_a_reply_cut_short_is_not_taken(cut: int) -> None:
    """Wherever the first segment ends."""
    assert glance(COMMON[:cut]) is None


@pytest.mark.parametrize("extra", [b"\n", b"\r\n", b" ", b"\0", COMMON])
def test_a_reply_with_bytes_after_it_is_not_taken(extra: bytes) -> None:
    """Too many bytes are the reader's business, line ends among them, which llhttp skips."""
    assert glance(COMMON + extra) is None


def test_an_interim_reply_that_announces_the_final_one_as_its_body_is_not_taken() -> None:
    """1xx replies have no body, whatever they say: what follows is the outcome."""
    final = b"HTTP/1.1 200 OK\r\n\r\nhello"
    assert glance(b"HTTP/1.1 103 Early Hints\r\nContent-Length: %d\r\n\r\n%b" % (len(final), final)) is None


@pytest.mark.parametrize(
    "reply",
    [
        COMMON,
        b"HTTP/1.1 404 Not Found\r\nServer: x\r\nDate: y\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 \r\ncontent-type: application/json; charset=utf-8\r\nCONTENT-LENGTH: 3\r\n\r\n{}\n",
        b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    ],
)
def test_the_common_reply_is_taken(reply: bytes) -> None:
    """A glance that took nothing would go unnoticed but for its cost."""
    taken = glance(reply)
    assert taken is not None
    assert taken == read(reply)


def test_the_bounds_of_a_header_section_hold_at_a_glance() -> None:
    """In bytes, to the byte, and in fields."""
    opening, tail = b"HTTP/1.1 200 OK\r\nA: ", b"\r\nContent-Length: 1"
    largest = opening + b"x" * (SECTION_BYTES_MAX - len(opening) - len(tail)) + tail + b"\r\n\r\nx"
    taken = glance(largest)
    assert taken is not None
    assert taken == read(largest)
    assert glance(largest.replace(b"A: ", b"A: x")) is None
    many = b"".join(b"%x:\r\n" % number for number in range(FIELDS_MAX))
    assert glance(b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 1\r\n\r\nx") is None


def test_a_head_seen_before_says_nothing_of_the_body_that_comes_with_it() -> None:
    """Only the head is remembered: another body of the same length is that reply's, one of another length is none."""
    for body in (b"first", b"again"):
        taken = glance(COMMON[:-5] + body)
        assert taken is not None
        assert taken[1] == body
    assert glance(COMMON[:-5] + b"four") is None
    assert glance(COMMON[:-5] + b"longer") is None


def test_what_is_remembered_of_heads_is_bounded() -> None:
    """A tool whose heads are never twice the same costs time, not memory."""
    for number in range(SECTIONS_MAX + 10):
        assert glance(b"HTTP/1.1 200 OK\r\nX-Id: %d\r\nContent-Length: 1\r\n\r\nx" % number) is not None
    assert _read.cache_info().currsize == SECTIONS_MAX
