"""Requests to be explained: from flags and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.request import BadRequest, Request, from_file, from_flags


def file(folder: Path, data: bytes) -> Request:
    """Read a request from a file with `data`."""
    path = folder / "request.http"
    path.write_bytes(data)
    return from_file(str(path))


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_file_is_a_request_as_it_goes_over_the_wire(tmp_path: Path, end: bytes) -> None:
    """Line ends in the head may be an editor's; the body stays byte for byte."""
    head = end.join([b"POST /tools/t?a=%20 HTTP/1.1", b"Host: tools", b"X-Run-Id:  run_1 ", b"", b""])
    found = file(tmp_path, head + b'{"a":\r\n1}\n\nb')
    assert (found.method, found.target) == ("POST", "/tools/t?a=%20")
    assert found.headers == ((b"Host", b"tools"), (b"X-Run-Id", b"run_1"))
    assert found.body == b'{"a":\r\n1}\n\nb'


def test_content_length_ends_the_body(tmp_path: Path) -> None:
    """The line end that an editor adds to the file is not part of it."""
    assert file(tmp_path, b"POST /t HTTP/1.1\nContent-Length: 2\n\n{}\n").body == b"{}"


def test_file_without_a_body_needs_no_empty_line(tmp_path: Path) -> None:
    """A head alone is a request."""
    assert file(tmp_path, b"GET /t HTTP/1.1\nHost: a\n") == Request("GET", "/t", ((b"Host", b"a"),), b"")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the first line is not"),
        (b"POST /t\n\n", "the first line is not"),
        (b"POST http://evil/t HTTP/1.1\n\n", "is not a path as it goes over the wire"),
        (b"PO(ST /t HTTP/1.1\n\n", "is not a method"),
        (b"TRACE /t HTTP/1.1\n\n", "refused before any policy"),
        (b"POST /t HTTP/1.1\nX-Run-Id run\n\n", "is not a header field"),
        (b"POST /t HTTP/1.1\nX-Run-Id : run\n\n", "is not a header field"),
        (b"POST /t HTTP/1.1\nContent-Length: 9\n\n{}", "2 bytes of body follow"),
        (b"POST /t HTTP/1.1\nContent-Length: x\n\n{}", "Content-Length is x"),
        (b"POST /t HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n", "without Transfer-Encoding"),
    ],
)
def test_file_that_is_no_request_says_why(tmp_path: Path, data: bytes, why: str) -> None:
    """The proxy would refuse these before looking at any policy."""
    with pytest.raises(BadRequest, match=why):
        file(tmp_path, data)


def test_flags_are_a_request(tmp_path: Path) -> None:
    """A body is text, or what a file holds."""
    (tmp_path / "body.json").write_bytes(b"\xff{}")
    found = from_flags("PUT", "/t", ("X-A: b: c", "X-E:"), f"@{tmp_path}/body.json")
    assert found == Request("PUT", "/t", ((b"X-A", b"b: c"), (b"X-E", b"")), b"\xff{}")
    assert from_flags("POST", "/t", (), "ü").body == "ü".encode()


def test_missing_file_is_told() -> None:
    """By its name and the system's reason."""
    with pytest.raises(BadRequest, match="gone: No such file"):
        from_flags("POST", "/t", (), "@gone")
