"""What a head says of its body and its connection."""

from __future__ import annotations

import pytest

from proxy.forward import Headers
from proxy.upstream.head import BadReply, Framing, Head, judge


def head(*headers: tuple[bytes, bytes], status: int = 200, version: str = "1.1", bodiless: bool = False) -> Head:
    """Judge a head."""
    return judge(status, b"OK", version, headers, bodiless=bodiless)


@pytest.mark.parametrize(
    ("headers", "status", "framing", "length"),
    [
        ((), 200, "close", None),
        (((b"CONTENT-length", b"5"),), 200, "length", 5),
        (((b"Content-Length", b"0"),), 500, "length", 0),
        (((b"transfer-Encoding", b"Chunked"),), 200, "chunked", None),
        (((b"Content-Length", b"5"),), 204, "none", None),
        (((b"Content-Length", b"5"),), 304, "none", None),
        (((b"Transfer-Encoding", b"chunked"),), 304, "none", None),
    ],
)
def test_a_head_names_its_framing(headers: Headers, status: int, framing: Framing, length: int | None) -> None:
    """RFC 9112, 6.3: no body, then chunked, then Content-Length, then the connection's end."""
    judged = head(*headers, status=status)
    assert (judged.framing, judged.length) == (framing, length)
    assert head(*headers, status=status, bodiless=True).framing == "none"


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity", b""])
def test_a_transfer_coding_that_was_not_offered_is_refused(coding: bytes) -> None:
    """Chunked is the only one that every client must know; the rest would need `TE`, which is never sent."""
    with pytest.raises(BadReply):
        head((b"Transfer-Encoding", coding))


def test_transfer_codings_in_two_fields_are_refused() -> None:
    """Two fields are one list."""
    with pytest.raises(BadReply):
        head((b"Transfer-Encoding", b"chunked"), (b"transfer-encoding", b"chunked"))


def test_a_transfer_coding_in_http_1_0_is_refused() -> None:
    """RFC 9112, 6.1: its framing is faulty."""
    with pytest.raises(BadReply):
        head((b"Transfer-Encoding", b"chunked"), version="1.0")


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_other_versions_are_refused(version: str) -> None:
    """They mean something else by everything."""
    with pytest.raises(BadReply):
        head(version=version)


def test_control_characters_in_the_reason_are_refused() -> None:
    """The reason is passed on, and must not carry what would end a line there; llhttp lets NUL through."""
    for byte in b"\0\x01\r\n\x7f":
        with pytest.raises(BadReply):
            judge(200, b"O%cK" % byte, "1.1", (), bodiless=False)
    assert judge(200, b"Gr\xfc\xdfe\tOK", "1.1", (), bodiless=False).reason


def test_a_connection_is_kept_only_where_both_ends_can_tell_where_the_reply_ends() -> None:
    """HTTP/1.1 without `close`, and a body that does not end with the connection."""
    length = (b"Content-Length", b"1")
    assert head(length).keep_alive
    assert head(length, (b"Connection", b"Keep-Alive")).keep_alive
    assert not head().keep_alive
    assert not head(length, (b"connection", b"foo, Close")).keep_alive
    assert not head(length, (b"Connection", b"keep-alive"), version="1.0").keep_alive


def test_an_event_stream_is_known_by_its_type() -> None:
    """Whatever its case and parameters."""
    assert head((b"content-type", b"Text/Event-Stream; charset=utf-8")).event_stream
    assert not head((b"Content-Type", b"text/html")).event_stream
