"""The request's head, byte for byte."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.forward import Headers, Origin, Outbound
from proxy.upstream.request import TEMPLATES_MAX, _template, encode_head

ORIGIN = Origin("http", "tool", 80)


async def pieces() -> AsyncIterator[bytes]:
    """A body that comes in pieces."""
    yield b"x"


def encoded(
    method: bytes = b"POST",
    target: bytes = b"/",
    headers: Headers = (),
    body: bytes | AsyncIterator[bytes] = b"",
    body_length: int | None = None,
) -> bytes:
    """Return the head of a request."""
    return encode_head(Outbound(ORIGIN, method, target, headers, body, body_length))


def test_a_head_is_what_was_given_byte_for_byte() -> None:
    """Target, order, case, doubled fields and inner spaces stay; only framing is added."""
    headers = ((b"host", b"a"), (b"X-a", b" b  c\t"), (b"x-A", b"\xff"), (b"Empty", b""))
    assert encoded(b"PURGE", b"/a%2Fb/%41/../x?y=%zz#", headers) == (
        b"PURGE /a%2Fb/%41/../x?y=%zz# HTTP/1.1\r\nhost: a\r\nX-a:  b  c\t\r\nx-A: \xff\r\nEmpty: \r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        (b"POST", b"abc", b"Content-Length: 3\r\n"),
        (b"GET", b"abc", b"Content-Length: 3\r\n"),
        (b"POST", b"", b"Content-Length: 0\r\n"),
        (b"PUT", b"", b"Content-Length: 0\r\n"),
        (b"PATCH", b"", b"Content-Length: 0\r\n"),
        (b"GET", b"", b""),
        (b"HEAD", b"", b""),
        (b"DELETE", b"", b""),
    ],
)
def test_a_whole_body_is_framed_by_its_length(method: bytes, body: bytes, framing: bytes) -> None:
    """An absent one only where the method would make its receiver wait for it (RFC 9110, 8.6)."""
    assert encoded(method, body=body) == method + b" / HTTP/1.1\r\n" + framing + b"\r\n"


def test_a_streamed_body_is_framed_by_its_announced_length_or_in_chunks() -> None:
    """Zero is a length too."""
    assert encoded(body=pieces(), body_length=7).endswith(b"\r\nContent-Length: 7\r\n\r\n")
    assert encoded(body=pieces(), body_length=0).endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert encoded(body=pieces()).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")


@given(
    place=st.sampled_from(["method", "target", "name", "value"]),
    before=st.binary(max_size=3),
    evil=st.sampled_from([b"\r", b"\n", b"\0", b"\r\n", b"\r\n\r\n"]),
    after=st.binary(max_size=3),
)
def test_a_line_end_anywhere_is_refused(place: str, before: bytes, evil: bytes, after: bytes) -> None:
    """No field or target can become a second one, whatever let it get this far."""
    bad = before + evil + after
    header = (bad if place == "name" else b"A", bad if place == "value" else b"b")
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        encoded(bad if place == "method" else b"GET", bad if place == "target" else b"/", (header,))


@pytest.mark.parametrize(("method", "target"), [(b"G T", b"/"), (b"", b"/"), (b"GET", b"/a b"), (b"GET", b"")])
def test_a_request_line_of_other_than_three_words_is_refused(method: bytes, target: bytes) -> None:
    """The tool would read another target or version out of it."""
    with pytest.raises(ValueError, match="three words"):
        encoded(method, target)


def test_a_field_name_with_a_percent_sign_arrives_as_it_is() -> None:
    """It is a token's character (RFC 9110, 5.6.2), and no placeholder."""
    assert encoded(b"GET", headers=((b"%b%d%%", b"%b"),)) == b"GET / HTTP/1.1\r\n%b%d%%: %b\r\n\r\n"


def test_what_is_remembered_of_field_names_is_bounded() -> None:
    """A caller whose names are never twice the same costs time, not memory."""
    for number in range(TEMPLATES_MAX + 10):
        encoded(headers=((b"X-%d" % number, b""),))
    assert _template.cache_info().currsize == TEMPLATES_MAX


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"TRANSFER-Encoding"])
def test_a_framing_field_among_the_given_ones_is_refused(name: bytes) -> None:
    """Two framings are one too many: which of them a tool believes is anybody's guess."""
    with pytest.raises(ValueError, match="framing"):
        encoded(headers=((b"Host", b"a"), (name, b"3")), body=b"abc")
