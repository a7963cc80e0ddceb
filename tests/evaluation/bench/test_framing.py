"""Framing as far as the bench needs it."""

from __future__ import annotations

import pytest

from evaluation.bench.framing import BadFraming, content_length, header, split_message

HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\ncontent-LENGTH: 5"


def test_whole_message_is_split() -> None:
    """A message with as many bytes as it announces is head and body."""
    assert split_message(HEAD + b"\r\n\r\nhello") == (HEAD, b"hello")


@pytest.mark.parametrize("cut", range(len(HEAD) + 9))
def test_message_cut_anywhere_is_not_whole(cut: int) -> None:
    """However a message is cut into pieces, it is whole with its last byte only."""
    assert split_message((HEAD + b"\r\n\r\nhello")[:cut]) is None


def test_bytes_too_many_are_an_error() -> None:
    """What follows a message was not asked for."""
    with pytest.raises(BadFraming, match="1 bytes too many"):
        split_message(HEAD + b"\r\n\r\nhello!")


def test_reply_without_a_length_is_an_error() -> None:
    """The end of a reply without a Content-Length cannot be told."""
    with pytest.raises(BadFraming, match="no Content-Length"):
        split_message(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_bodiless_request_ends_with_its_head() -> None:
    """A GET without a Content-Length has no body."""
    assert split_message(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bodiless=True) == (b"GET / HTTP/1.1\r\nHost: x", b"")


def test_header_is_found_whatever_its_case() -> None:
    """A header's name has no case, its value does; a missing one is nothing, a value is no name."""
    assert content_length(HEAD) == 5
    assert header(HEAD, b"content-type") == b"text/plain"
    assert header(HEAD, b"content") == b""
    assert header(HEAD, b"text/plain") == b""
