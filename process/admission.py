"""Who may use a port for people and programs: the token's holder, from this machine's own pages, under a name of ours.

Such a port is on loopback by default, where every page in the operator's browser can reach it. So what changes anything
must come as JSON by POST (which no page of another site can send without asking first), from the same origin, and
without a token the Host must be a name of loopback or the address that was bound: a page whose name is made to
resolve to 127.0.0.1 (DNS rebinding) is none of these.
"""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from process.tokens import Tokens, is_loopback

Why = Literal["unauthorized", "forbidden", "media-type"]

SAFE_METHODS = frozenset({"GET", "HEAD"})


class NotAdmitted(Exception):
    """A request may have no answer but this. `field` is what is wrong in it, `remedy` what to do about it."""

    def __init__(self, why: Why, detail: str, *, field: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.why = why
        self.field = field
        self.remedy = remedy


class Admission:
    """`listen` is the host that the port was told to bind; `tokens` None if none is asked for. `flag` names the option
    that has the token's file, for remedies."""

    def __init__(self, listen: str, tokens: Tokens | None, flag: str) -> None:
        self._flag = flag
        self._listen = listen.strip("[]").lower()
        self._tokens = tokens

    def check(self, request: web.Request) -> None:
        """Raise `NotAdmitted` unless the request may have an answer."""
        if self._tokens is None:
            self._check_host(request.headers.getall("Host", []))
        else:
            self._check_token(self._tokens, request.headers.getall("Authorization", []))
        if request.method not in SAFE_METHODS:
            _check_origin(request)
            if request.content_type != "application/json":
                raise NotAdmitted(
                    "media-type", f"the body is {request.content_type}", field="Content-Type",
                    remedy="send Content-Type: application/json",
                )  # fmt: skip

    def _check_host(self, hosts: list[str]) -> None:
        name = _host_of(hosts[0]) if len(hosts) == 1 else ""
        if not name or not (is_loopback(name) or name == self._listen):
            raise NotAdmitted(
                "forbidden", f"without a token this port answers to loopback and {self._listen} only",
                field="Host", remedy=f"ask for it by its address, or start it with {self._flag}",
            )  # fmt: skip

    def _check_token(self, tokens: Tokens, fields: list[str]) -> None:
        scheme, _, offered = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        accepted = tokens.accepts(offered.strip().encode("utf-8", "surrogateescape"))
        if scheme.lower() != "bearer" or not accepted:
            detail = "the token is wrong" if fields else "no token was sent"
            remedy = f"send Authorization: Bearer with the content of its {self._flag} (commands: --token-file)"
            raise NotAdmitted("unauthorized", detail, field="Authorization", remedy=remedy)


def _host_of(field: str) -> str:
    """Return a Host field's name without its port."""
    name, bracket, _ = field.strip().lower().partition("]")
    return name.lstrip("[") if bracket else name.partition(":")[0]


def _check_origin(request: web.Request) -> None:
    headers = request.headers
    origins = headers.getall("Origin", [])
    ours = {f"{scheme}://{headers.get('Host', '')}".lower() for scheme in ("http", "https")}
    if any(origin.lower() not in ours for origin in origins):
        raise NotAdmitted("forbidden", "a page of another origin asks for a change", field="Origin")
    sites = headers.getall("Sec-Fetch-Site", [])
    if any(site.lower() != "same-origin" for site in sites):
        raise NotAdmitted("forbidden", "a page of another site asks for a change", field="Sec-Fetch-Site")
