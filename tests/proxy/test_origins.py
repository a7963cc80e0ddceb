"""Whom to dial: read from a URL, strictly."""

from __future__ import annotations

import pytest

from proxy.forward import Origin
from proxy.origins import authority_of, parse_origin


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://tools:9000", Origin("http", "tools", 9000), b"tools:9000"),
        ("http://tools", Origin("http", "tools", 80), b"tools"),
        ("https://tools/", Origin("https", "tools", 443), b"tools"),
        ("https://tools:80", Origin("https", "tools", 80), b"tools:80"),
        ("http://[::1]:8080", Origin("http", "::1", 8080), b"[::1]:8080"),
        ("http://127.0.0.1:80", Origin("http", "127.0.0.1", 80), b"127.0.0.1"),
        ("HTTP://Tools", Origin("http", "tools", 80), b"tools"),
    ],
)
def test_url_of_scheme_host_and_port_is_an_origin(url: str, origin: Origin, authority: bytes) -> None:
    """The port is the scheme's own where none is given, and Host says it only where it is not."""
    assert parse_origin(url) == origin
    assert authority_of(origin) == authority


@pytest.mark.parametrize(
    "url",
    ["", "tools:9000", "//tools", "ftp://tools", "http://", "http://tools/path", "http://tools?x=1", "http://tools#f",
     "http://user@tools", "http://user:secret@tools", "http://tools:99999", "http://tools:port", "http://[::1",
     "http://tools:0"],
)  # fmt: skip
def test_anything_else_is_refused(url: str) -> None:
    """A path or a credential that was silently dropped would send requests somewhere else."""
    with pytest.raises(ValueError, match="."):
        parse_origin(url)
