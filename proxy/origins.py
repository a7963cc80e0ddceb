"""Where a policy's requests go: `upstream.url`, or the proxy's `--upstream`."""

from __future__ import annotations

from urllib.parse import urlsplit

from policies.model import ToolPolicy
from proxy.forward import Origin

PORTS = {"http": 80, "https": 443}
CACHE_MAX = 1_000


def parse_origin(url: str) -> Origin:
    """Read `http://host[:port]` or `https://…`, authority only. Raises `ValueError` with what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not http://host[:port] or https://host[:port]")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{url!r} must name scheme, host and port only")
    return Origin("https" if parts.scheme == "https" else "http", parts.hostname, parts.port or PORTS[parts.scheme])


class Origins:
    """Looks origins up once per URL."""

    def __init__(self, default_url: str) -> None:
        self._default = parse_origin(default_url)
        self._known: dict[str, Origin] = {}

    def of(self, policy: ToolPolicy) -> Origin:
        """Return whom to dial for `policy`."""
        url = policy.upstream.url
        if url is None:
            return self._default
        origin = self._known.get(url)
        if origin is None:
            if len(self._known) >= CACHE_MAX:
                self._known.clear()
            origin = self._known[url] = parse_origin(url)
        return origin
