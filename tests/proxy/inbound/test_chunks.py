"""Chunked bodies, in whatever pieces they come: what is taken is less than llhttp takes, and means the same."""

from __future__ import annotations

import pytest
from httptools import HttpParserError, HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from proxy.inbound.chunks import LINE_BYTES_MAX, OVERHEAD_BYTES_MAX, BadChunks, Chunks

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\n"


def read(*pieces: bytes) -> tuple[bytes, bytes, bool]:
    """Return the body, what follows it, and whether it is whole."""
    chunks = Chunks()
    body, rest = b"", b""
    for piece in pieces:
        if chunks.whole:
            rest += piece
            continue
        found, surplus = chunks.feed(piece)
        body += b"".join(found)
        rest += surplus
    return body, rest, chunks.whole


class Heard:
    """What llhttp makes of a request."""

    def __init__(self) -> None:
        self.body, self.whole = b"", 0

    def on_body(self, data: bytes) -> None:
        """Gather it."""
        self.body += data

    def on_message_complete(self) -> None:
        """Count it."""
        self.whole += 1


GOOD = {
    b"0\r\n\r\n": b"",
    b"5\r\nhello\r\n0\r\n\r\n": b"hello",
    b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n": b"01234567890123456789",
    b"000005\r\nhello\r\n000\r\n\r\n": b"hello",
    b"2\r\n\r\n\r\n0\r\n\r\n": b"\r\n",
    b"5;x\r\nhello\r\n0\r\n\r\n": b"hello",
    b'5;x=1;y="a;\\"b"\r\nhello\r\n0;z\r\n\r\n': b"hello",
    b"5\r\nhello\r\n0\r\nX-Sum: 17\r\nX-Empty:\r\n\r\n": b"hello",
    b"5\r\n0\r\n\r\n\r\n0\r\n\r\n": b"0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", GOOD)
def test_body_is_read_and_what_follows_it_is_left(data: bytes) -> None:
    """To the byte, whole or byte by byte, with another request right behind it."""
    assert read(data + NEXT) == (GOOD[data], NEXT, True)
    assert read(*(bytes([byte]) for byte in data + NEXT)) == (GOOD[data], NEXT, True)
    assert read(data[:-1]) == (GOOD[data], b"", False)


BAD = [
    b"\r\n", b"zz\r\n", b"-1\r\n", b"+5\r\nhello\r\n", b"0x5\r\nhello\r\n", b" 5\r\nhello\r\n", b"5 \r\nhello\r\n",
    b"5\nhello\r\n", b"5\rhello\r\n", b"5\r\rhello",
    b"5\r\nhelloX", b"5\r\nhello\n", b"5\r\nhello\r\r", b"5\r\nhello0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n", b"5 ;x\r\nhello\r\n", b"5;\x00\r\nhello\r\n", b"5;x\nhello\r\n", b"5;x\ny\r\nhello\r\n",
    b"5;=\r\nhello\r\n", b"5;\r\nhello\r\n", b"5,6\r\n", b"5\xd9\xa0\r\n", b"0\r\nX\r\n\r\n", b"0\r\nX : 1\r\n\r\n",
    b"0\r\n X: 1\r\n\r\n", b"0\r\nX: a\0b\r\n\r\n",
    b"0\r\nX: 1\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\ntransfer-encoding: x\r\n\r\n",
    b"0\r\nHOST: b\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", BAD)
def test_chunks_that_somebody_could_read_differently_are_refused(data: bytes) -> None:
    """Wherever they are cut."""
    for pieces in ((data,), tuple(bytes([byte]) for byte in data)):
        with pytest.raises(BadChunks):
            read(*pieces)


@pytest.mark.parametrize("data", [b"zz", b"5\r\nhelloX", b"5;\n", b"5" * 16, b"5\r\nhello\n"])
def test_nonsense_is_refused_before_its_line_is_over(data: bytes) -> None:
    """Nobody waits for the end of what has no sense already."""
    with pytest.raises(BadChunks):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"5;" + b"x" * LINE_BYTES_MAX, b"5;" + b"x" * LINE_BYTES_MAX + b"\r\n", b"0\r\nX:" + b"y" * LINE_BYTES_MAX,
        (b"1;" + b"x" * 1_000 + b"\r\na\r\n") * 20, b"0\r\n" + (b"X: " + b"y" * 1_000 + b"\r\n") * 20,
    ],
)  # fmt: skip
def test_extensions_and_trailers_are_bounded(data: bytes) -> None:
    """Each line, and all of them together."""
    assert len(data) > min(LINE_BYTES_MAX, OVERHEAD_BYTES_MAX)
    with pytest.raises(BadChunks):
        read(data)


pieces_of_framing = st.sampled_from(
    [b"0", b"1", b"5", b"a", b"\r\n", b"\r", b"\n", b";", b"x", b"=", b'"', b" ", b":", b"hello", b"\0", b"X: 1\r\n"]
)
likely = st.one_of(st.lists(pieces_of_framing, max_size=12).map(b"".join), st.sampled_from(sorted(GOOD)))


@given(likely, likely, st.lists(st.integers(0, 60), max_size=4))
def test_whatever_is_taken_llhttp_takes_and_reads_alike(begin: bytes, end: bytes, cuts: list[int]) -> None:
    """Ours is the stricter reader, and cutting the bytes anywhere changes nothing."""
    data = begin + end
    try:
        body, rest, whole = read(data)
    except BadChunks:
        return
    at = sorted({cut for cut in cuts if cut < len(data)})
    assert read(*(data[i:j] for i, j in zip([0, *at], [*at, len(data)], strict=True))) == (body, rest, whole)
    heard = Heard()
    parser = HttpRequestParser(heard)
    parser.feed_data(HEAD)
    try:
        parser.feed_data(data[: len(data) - len(rest)])
    except HttpParserError:
        assert not whole  # it has seen the beginning of a line that we shall refuse when it is over
        return
    assert (heard.body, heard.whole) == (body, int(whole))


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.binary(max_size=10), st.lists(st.integers(0, 150)))
def test_cutting_a_body_anywhere_gives_the_same_body(bodies: list[bytes], rest: bytes, cuts: list[int]) -> None:
    """However many pieces it comes in."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n" + rest
    at = sorted({cut for cut in cuts if cut < len(data)})
    assert read(*(data[i:j] for i, j in zip([0, *at], [*at, len(data)], strict=True))) == (b"".join(bodies), rest, True)


def test_llhttp_would_not_say_where_the_body_ended() -> None:
    """Why chunks are read here: through httptools a message's end has no position. If it gets one, this file may go."""
    heard = Heard()
    with pytest.raises(HttpParserError):
        HttpRequestParser(heard).feed_data(HEAD + b"0\r\n\r\njunk")
    assert heard.whole == 1
