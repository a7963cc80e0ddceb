"""One reply out of a stream of bytes, however the stream is cut, and nothing out of anything else."""

from __future__ import annotations

import http.client
import io
import socket
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.forward import Headers
from proxy.upstream.head import BadReply, Head
from proxy.upstream.reply import FIELDS_MAX, HEAD_BYTES_MAX, ReplyReader

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Id: 1\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: one\r\nX-Trailer: two\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + LENGTH
CLOSED = b"HTTP/1.1 200 OK\r\nX-Empty:\r\n\r\nhello"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"
WHOLE = (LENGTH, CHUNKED, INTERIM, NO_CONTENT)


class Read(NamedTuple):
    """All that can be known of a reply."""

    head: Head | None
    interim: list[tuple[int, Headers]]
    body: bytes
    trailers: Headers
    surplus: bool


def read(data: bytes, cuts: list[int], method: bytes = b"GET") -> Read:
    """Feed `data` in the segments that `cuts` makes, then its end, and return the reply. Raises BadReply."""
    reader = ReplyReader(method)
    body = b""
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        if start < end:
            body += reader.feed(data[start:end])
    surplus = reader.surplus
    reader.eof()
    assert reader.whole
    return Read(reader.head, reader.interim, body, reader.trailers, surplus)


def is_whole(data: bytes, method: bytes = b"GET") -> bool:
    """Say whether `data`, up to the connection's end, is taken for a whole reply."""
    try:
        read(data, [], method)
    except BadReply:
        return False
    return True


@given(reply=st.sampled_from([*WHOLE, CLOSED]), data=st.data())
def test_any_split_of_a_reply_gives_the_same_reply(reply: bytes, data: st.DataObject) -> None:
    """How the network cuts the bytes makes no difference: head, interim replies, body and trailers are the same."""
    cuts = data.draw(st.lists(st.integers(0, len(reply))))
    assert read(reply, cuts) == read(reply, [])


def test_a_reply_fed_byte_by_byte_is_read() -> None:
    """The worst split of all."""
    head, interim, body, trailers, surplus = read(INTERIM, list(range(len(INTERIM))))
    assert head is not None
    assert interim == [(103, ((b"Link", b"</a>"),))]
    assert (body, trailers, surplus) == (b"hello", (), False)
    assert read(CHUNKED, list(range(len(CHUNKED))))[2:] == (
        b"hello",
        ((b"X-Trailer", b"one"), (b"X-Trailer", b"two")),
        False,
    )


@pytest.mark.parametrize("reply", WHOLE)
def test_a_reply_cut_anywhere_is_not_whole(reply: bytes) -> None:
    """Only all of it is a reply, wherever it is cut short (23)."""
    assert is_whole(reply)
    assert not [cut for cut in range(len(reply)) if is_whole(reply[:cut])]


@pytest.mark.parametrize("reply", WHOLE)
@pytest.mark.parametrize("extra", [b"x", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\r\n\r\n", LENGTH, CHUNKED, b"\0"])
def test_bytes_after_the_end_are_noticed_and_add_nothing(reply: bytes, extra: bytes) -> None:
    """One byte too many is seen, in the same segment or in one that straddles the end; the reply stays itself."""
    clean = read(reply, [])
    for cuts in ([], [len(reply)], [len(reply) - 1], [len(reply) - 3, len(reply) + 1]):
        spoiled = read(reply + extra, cuts)
        assert spoiled[:4] == clean[:4]
        assert spoiled[4], f"surplus unnoticed with cuts {cuts}"


@pytest.mark.parametrize("extra", [b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5", b"\r\n", LENGTH])
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_a_body_after_a_head_request_is_too_many_bytes(framing: bytes, extra: bytes) -> None:
    """The answer to HEAD ends with its head, whatever its fields say of a body."""
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"
    assert read(head, [], b"HEAD")[2:] == (b"", (), False)
    assert read(head + extra, [], b"HEAD")[2:] == (b"", (), True)


@pytest.mark.parametrize(
    "malformed",
    [
        b"\r\n" + LENGTH,
        b" " + LENGTH,
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_malformed_reply_is_refused(malformed: bytes) -> None:
    """Nothing in it is believed: it ran, and what came of it is not known (29)."""
    reader = ReplyReader(b"GET")
    with pytest.raises(BadReply):
        reader.feed(malformed)


def test_header_sections_have_a_limit_in_bytes() -> None:
    """Whether it is one section, many interim ones, or one that never ends."""
    field = b"A: " + b"x" * 1000 + b"\r\n"
    for flood in (b"HTTP/1.1 200 OK\r\n" + field * 70 + b"\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEAD_BYTES_MAX):
        with pytest.raises(BadReply, match="more than"):
            ReplyReader(b"GET").feed(flood)
    reader, interim = ReplyReader(b"GET"), b"HTTP/1.1 102 Processing\r\n\r\n"
    for _ in range(HEAD_BYTES_MAX // len(interim)):
        reader.feed(interim)
    with pytest.raises(BadReply, match="more than"):
        reader.feed(interim)


@pytest.mark.parametrize(
    "opening", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"]
)
def test_sections_have_a_limit_in_fields(opening: bytes) -> None:
    """Header and trailer section alike."""
    assert is_whole(opening + b"a: b\r\n" * (FIELDS_MAX - 1) + b"\r\n")
    with pytest.raises(BadReply):
        ReplyReader(b"GET").feed(opening + b"a: b\r\n" * (FIELDS_MAX + 1) + b"\r\n")


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"5;"])
def test_trailers_and_chunk_extensions_have_a_limit_in_bytes(endless: bytes) -> None:
    """A tool cannot send for ever without sending any body."""
    reader = ReplyReader(b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + endless)
    for _ in range(HEAD_BYTES_MAX // 1024 - 1):
        reader.feed(b"x" * 1024)
    with pytest.raises(BadReply, match="without an end"):
        reader.feed(b"x" * 1024)


def test_a_reader_leaves_no_reference_cycle() -> None:
    """Parser and reader refer to each other only while the parser is needed: no garbage is left to be collected."""
    for reply in WHOLE:
        reader = ReplyReader(b"GET")
        reader.feed(reply)
        assert reader._parser is None


class FakeSocket(socket.socket):
    """Bytes that have come in."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.close()
        self._data = data

    def makefile(self, *_: Any, **__: Any) -> Any:
        """Return the bytes as a file."""
        return io.BytesIO(self._data)


def by_the_standard_library(data: bytes) -> tuple[int, bytes]:
    """Return status and body as `http.client`, another parser altogether, reads them."""
    response = http.client.HTTPResponse(FakeSocket(data), method="GET")
    response.begin()
    return response.status, response.read()


@given(reply=st.sampled_from([LENGTH, CHUNKED, CLOSED, NO_CONTENT]), data=st.data())
def test_a_damaged_reply_is_refused_or_read_as_another_parser_reads_it(reply: bytes, data: st.DataObject) -> None:
    """A few bytes changed, lost or put in: what is still taken for whole is what the bytes say."""
    damaged = bytearray(reply)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        assume(damaged)
    try:
        taken = read(bytes(damaged), [])
    except BadReply:
        return
    assert taken.head is not None
    assert (taken.head.status, taken.body) == by_the_standard_library(bytes(damaged))


@given(garbage=st.binary(max_size=300), prefix=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED[:54]]))
def test_garbage_is_never_a_reply_and_never_an_unexpected_error(garbage: bytes, prefix: bytes) -> None:
    """Random bytes end in BadReply, now or at the connection's end, unless they complete a header section."""
    assume(b"\r\n\r\n" not in prefix[-4:] + garbage)
    assert not is_whole(prefix + garbage)
