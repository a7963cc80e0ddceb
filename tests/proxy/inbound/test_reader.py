"""Heads, cut out of bytes that come in any pieces."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forward import Headers
from proxy.inbound.body import Body
from proxy.inbound.head import Head
from proxy.inbound.reader import BLANK_BYTES_MAX, HEAD_BYTES_MAX, HeadReader
from proxy.problems import Refused

Read = tuple[bytes, bytes, Headers, bytes, bool]


class Still:
    """The line of a body that nobody has to wait for."""

    def pause(self) -> None:
        """More may come all the same."""

    def resume(self) -> None:
        """As above."""


def requests(*pieces: bytes) -> tuple[list[Read], str]:
    """Return all requests in the bytes of a connection, with their bodies, and why no more can be read."""
    reader = HeadReader()
    found: list[Read] = []
    head: Head | None = None
    body: Body | None = None
    try:
        for piece in pieces:
            data = piece
            while data:
                if body is None:
                    read = reader.read(data)
                    if read is None:
                        break
                    head, data = read
                    body = Body(Still(), None, head.length)  # type: ignore[arg-type]  # nobody waits for it
                if not body.whole:
                    data = body.feed(data)
                if body.broken:
                    return found, "body"
                if body.whole:
                    assert head is not None
                    line = head.line
                    found.append(
                        (line.raw_method, line.raw_target, head.fields, body.at_hand() or b"", head.keep_alive)
                    )
                    body = None
    except Refused as refused:
        return found, refused.kind.name
    return found, "open" if reader.begun or body is not None else ""


def read_all(pieces: Iterable[bytes]) -> None:
    """Read what is never to become a head."""
    reader = HeadReader()
    for piece in pieces:
        assert reader.read(piece) is None


def bytewise(data: bytes) -> list[bytes]:
    """Return it in single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


HOST = b"Host: a\r\n"
PIPELINE = (
    b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nX-Empty:\r\n\r\nhello"
    b"GET /b?c HTTP/1.1\r\n" + HOST + b"Cookie: a\r\nCookie: b\r\n\r\n"
    b"\r\nPUT /d HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n3;x\r\nabc\r\n0\r\nX: 1\r\n\r\n"
    b"DELETE /e HTTP/1.0\r\n\r\n"
    b"POST /f HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\n\r\n"
)


def test_pipeline_is_read_request_by_request() -> None:
    """Bodies end where they end, and what follows is the next request."""
    found, state = requests(PIPELINE)
    assert [(method, target, body, kept) for method, target, _, body, kept in found] == [
        (b"POST", b"/a", b"hello", True), (b"GET", b"/b?c", b"", True), (b"PUT", b"/d", b"\r\nabc", True),
        (b"DELETE", b"/e", b"", False), (b"POST", b"/f", b"\r\n", False),
    ]  # fmt: skip
    assert found[1][2] == ((b"Host", b"a"), (b"Cookie", b"a"), (b"Cookie", b"b"))
    assert state == ""


@pytest.mark.fault(17)
def test_every_single_cut_gives_the_same_requests() -> None:
    """At each boundary once, and at all of them."""
    whole = requests(PIPELINE)
    for at in range(1, len(PIPELINE)):
        assert requests(PIPELINE[:at], PIPELINE[at:]) == whole
    assert requests(*bytewise(PIPELINE)) == whole


parts = st.sampled_from(
    [
        b"POST /a HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n", HOST, b"Content-Length: 3\r\n", b"X: y\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"\r\n", b"abc",
        b"3\r\nabc\r\n", b"0\r\n\r\n", b"\n", b"\r", b" ",
        b"X", b":", b"\0",
        b"Upgrade: x\r\nConnection: upgrade\r\n", b"Expect: 100-continue\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"\xff",
    ]
)  # fmt: skip


def a_request(fields: list[bytes], body: bytes) -> bytes:
    """Return a request that is well-formed."""
    return b"POST /a HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (HOST, b"".join(fields), len(body), body)


requested = st.builds(
    a_request,
    st.lists(st.sampled_from([b"X: y\r\n", b"x-odd:\r\n", b"Cookie: a\r\n"]), max_size=4),
    st.binary(max_size=30),
)
streams = st.lists(st.one_of(parts, requested), max_size=10).map(b"".join)


@pytest.mark.fault(17)
@given(streams, st.lists(st.integers(0, 300), max_size=6))
def test_cutting_any_bytes_anywhere_gives_the_same_requests(data: bytes, cuts: list[int]) -> None:
    """Sense or nonsense: what is read, and what is refused, does not depend on how it came."""
    found, state = requests(data)
    at = sorted({cut for cut in cuts if cut < len(data)})
    for pieces in ([data[i:j] for i, j in zip([0, *at], [*at, len(data)], strict=True)], bytewise(data)):
        again, ended = requests(*pieces)
        assert again == found
        assert (ended in {"", "open"}) == (state in {"", "open"})


@pytest.mark.parametrize(
    "begun",
    [
        b"\x16\x03\x01\x02", b"hello", b"\n", b"\r\r",
        b"\r\n\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nA: b\n", b"G\0",
        b"GET / HTTP/1.1\r\nA : b", b"SSH-2.0-x\r\n", b"GET / HTTQ", b"GET /\xff", b"POST / HTTP/1.1\r\n A: b",
        b"GET / HTTP/1.1\r\nA: b\r\n c",
    ],
)  # fmt: skip
def test_what_can_be_no_head_is_refused_before_it_is_whole(begun: bytes) -> None:
    """Who speaks something else learns so at once."""
    for pieces in ((begun,), bytewise(begun)):
        with pytest.raises(Refused):
            read_all(pieces)


def test_head_is_bounded() -> None:
    """Whole, and while it comes in."""
    field = b"X: " + b"y" * 1_000 + b"\r\n"
    head = b"GET / HTTP/1.1\r\n" + HOST + field * (HEAD_BYTES_MAX // len(field) + 1)
    for pieces in ((head + b"\r\n",), (head,), tuple(head[at : at + 1_000] for at in range(0, len(head), 1_000))):
        with pytest.raises(Refused):
            read_all(pieces)


def test_line_ends_between_requests_are_skipped_a_few_of_them() -> None:
    """Old clients send one too many (RFC 9112, 2.2); nobody has to send them for ever."""
    data = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    blank = b"\r\n" * (BLANK_BYTES_MAX // 2)
    assert len(requests(blank + data + blank + data)[0]) == 2
    assert len(requests(*bytewise(blank + data + blank + data))[0]) == 2
    with pytest.raises(Refused):
        HeadReader().read(blank + b"\r\n")
