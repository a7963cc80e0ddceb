"""From an upstream's URL to whom to dial."""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy.forward import Origin


def parse_origin(url: str) -> Origin:
    """Read `http://host[:port]` or `https://…`, authority only. Raises `ValueError` with what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not http://host[:port] or https://host[:port]")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{url!r} must name scheme, host and port only")
    if parts.port == 0:
        raise ValueError(f"{url!r} names port 0, which nothing listens on")
    if parts.scheme == "https":
        return Origin("https", parts.hostname, parts.port or 443)
    return Origin("http", parts.hostname, parts.port or 80)


def authority_of(origin: Origin) -> bytes:
    """Return what Host says for `origin`: the port only where it is not the scheme's own (RFC 9110, 7.2)."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    default = 443 if origin.scheme == "https" else 80
    return (host if origin.port == default else f"{host}:{origin.port}").encode()
