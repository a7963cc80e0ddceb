"""Who may use the admin port: the token's holder, from this machine's own pages, under a name that is ours.

The port is on loopback by default, where every page in the operator's browser can reach it. So what changes anything
must come as JSON by POST (which no page of another site can send without asking first), from the same origin, and
without a token the Host must be a name of loopback or the address that was bound: a page whose name is made to
resolve to 127.0.0.1 (DNS rebinding) is none of these.
"""

from __future__ import annotations

from aiohttp import web

from process.tokens import Tokens, is_loopback
from proxy.admin_problems import Fault, Refused

SAFE_METHODS = frozenset({"GET", "HEAD"})


class Admission:
    """`listen` is the host that the port was told to bind; `tokens` None if none is asked for."""

    def __init__(self, listen: str, tokens: Tokens | None = None) -> None:
        self._listen = listen.strip("[]").lower()
        self._tokens = tokens

    def check(self, request: web.Request) -> None:
        """Raise `Refused` unless the request may have an answer."""
        if self._tokens is None:
            self._check_host(request.headers.getall("Host", []))
        else:
            self._check_token(self._tokens, request.headers.getall("Authorization", []))
        if request.method not in SAFE_METHODS:
            _check_origin(request)
            if request.content_type != "application/json":
                raise Refused(
                    Fault.MEDIA_TYPE, f"the body is {request.content_type}", field="Content-Type",
                    remedy="send Content-Type: application/json",
                )  # fmt: skip

    def _check_host(self, hosts: list[str]) -> None:
        name = _host_of(hosts[0]) if len(hosts) == 1 else ""
        if not name or not (is_loopback(name) or name == self._listen):
            raise Refused(
                Fault.FORBIDDEN, f"without a token the admin port answers to loopback and {self._listen} only",
                field="Host", remedy="ask for it by its address, or start the proxy with --admin-token-file",
            )  # fmt: skip

    def _check_token(self, tokens: Tokens, fields: list[str]) -> None:
        scheme, _, offered = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        accepted = tokens.accepts(offered.strip().encode("utf-8", "surrogateescape"))
        if scheme.lower() != "bearer" or not accepted:
            detail = "the token is wrong" if fields else "no token was sent"
            remedy = "send Authorization: Bearer with the content of the proxy's --admin-token-file (ops: --token-file)"
            raise Refused(Fault.UNAUTHORIZED, detail, field="Authorization", remedy=remedy)


def _host_of(field: str) -> str:
    """Return a Host field's name without its port."""
    name, bracket, _ = field.strip().lower().partition("]")
    return name.lstrip("[") if bracket else name.partition(":")[0]


def _check_origin(request: web.Request) -> None:
    headers = request.headers
    origins = headers.getall("Origin", [])
    ours = {f"{scheme}://{headers.get('Host', '')}".lower() for scheme in ("http", "https")}
    if any(origin.lower() not in ours for origin in origins):
        raise Refused(Fault.FORBIDDEN, "a page of another origin asks for a change", field="Origin")
    sites = headers.getall("Sec-Fetch-Site", [])
    if any(site.lower() != "same-origin" for site in sites):
        raise Refused(Fault.FORBIDDEN, "a page of another site asks for a change", field="Sec-Fetch-Site")
