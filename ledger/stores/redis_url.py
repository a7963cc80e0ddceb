"""The store's URL: which servers, behind whom, with which credentials.

    redis://[[user]:password@]host[:port][/db]                        one server
    unix://[[user]:password@]/path/to/socket[?db=0]                   one server, on this machine
    redis+sentinel://[[user]:password@]host[:port],…/master[/db]      the primary that Sentinels watch under this name
    redis+cluster://[[user]:password@]host[:port],…                   all primaries of a cluster, found by any of these

`rediss` in place of `redis` is TLS, to Sentinels and to every node as well. Options follow as a query; see `OPTIONS`. A
part of a URL that says nothing to us is refused, for it would say something to whoever wrote it.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

PORT = 6379
SENTINEL_PORT = 26379

Topology = Literal["single", "sentinel", "cluster"]

_TLS = {
    "ssl_ca_certs": "an authority's certificate, in place of the system's",
    "ssl_certfile": "our certificate, for servers that ask for one",
    "ssl_keyfile": "its key",
    "ssl_check_hostname": "`false`: the certificate may be for another name",
}
_SENTINEL = {
    "sentinel_username": "who we are to Sentinels; they have no user and password of the servers'",
    "sentinel_password": "the password there",
    "sentinel_password_file": "a file that holds it",
}
OPTIONS = (
    {"db": "the database", "password_file": "a file that holds the password; read at each login"} | _TLS | _SENTINEL
)
"""What may stand in the query, and what for."""

_FALSE = frozenset({"false", "no", "off", "0"})
_TRUE = frozenset({"true", "yes", "on", "1"})


class Place(Struct, frozen=True):
    """A server's TCP address."""

    host: str
    port: int

    def __str__(self) -> str:
        """Host and port, as messages have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Credentials(Struct, frozen=True):
    """Who we are to a server. A file's password is read at each login, so that a rotated one is found by itself."""

    username: str | None = None
    password: str | None = None
    password_file: str | None = None


class StoreUrl(Struct, frozen=True):
    """What a URL says. `places` is empty for a Unix socket, which `path` names then; `tls` holds redis-py's options, or
    is None for a connection in the clear."""

    topology: Topology
    places: tuple[Place, ...]
    path: str
    master: str
    db: int
    credentials: Credentials
    sentinel_credentials: Credentials
    tls: dict[str, Any] | None


def parse(url: str, password_file: str | None = None) -> StoreUrl:
    """Return what `url` says; `password_file` is the one from the command line. Raises ValueError, with the remedy and
    never with a password."""
    parts = urlsplit(url)
    options = _options(parts)
    credentials, hosts = _login(parts, password_file or options.get("password_file"))
    path = unquote(parts.path)
    topology: Topology = "single"
    master, db = "", options.get("db", "")
    match parts.scheme:
        case "unix":
            if hosts or not path.startswith("/"):
                raise ValueError("a socket is named by its absolute path: unix:///run/redis.sock")
            return StoreUrl("single", (), path, "", _database(db), credentials, Credentials(), None)
        case "redis" | "rediss":
            db = path.strip("/") or db
        case "redis+sentinel" | "rediss+sentinel":
            topology = "sentinel"
            master, _, behind = path.strip("/").partition("/")
            db = behind or db
            if not master:
                raise ValueError("the name under which the Sentinels know the primary is missing: …host:26379/NAME")
        case "redis+cluster" | "rediss+cluster":
            topology = "cluster"
            if path.strip("/") not in {"", "0"} or db not in {"", "0"}:
                raise ValueError("a cluster has one database: take the /db away")
        case _:
            raise ValueError("redis, rediss, redis+sentinel, redis+cluster and unix are the schemes for Redis")
    places = tuple(_place(host, SENTINEL_PORT if topology == "sentinel" else PORT) for host in hosts.split(","))
    if topology == "single" and len(places) > 1:
        raise ValueError("it names several servers: redis+sentinel:// and redis+cluster:// do that")
    if topology != "sentinel" and _SENTINEL.keys() & options.keys():
        raise ValueError("options for Sentinels belong to redis+sentinel:// URLs")
    of_sentinels = Credentials(*(options.get(name) for name in _SENTINEL))
    tls = _tls(options, parts.scheme.startswith("rediss"))
    return StoreUrl(topology, places, "", master, _database(db), credentials, of_sentinels, tls)


def _options(parts: SplitResult) -> dict[str, str]:
    options: dict[str, str] = {}
    if parts.fragment:
        raise ValueError("write a # in a password as %23")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            raise ValueError(f"the option {name!r} is not known; there are {', '.join(OPTIONS)}")
        if name in options or not value:
            raise ValueError(f"the option {name} is to be given once, with a value")
        options[name] = value
    return options


def _login(parts: SplitResult, password_file: str | None) -> tuple[Credentials, str]:
    """Return the user and what stands behind it, the hosts."""
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    if password and password_file is not None:
        raise ValueError("it has a password, and there is a password file: give one of them")
    return Credentials(unquote(username) or None, unquote(password) or None, password_file), hosts


def _place(host: str, port: int) -> Place:
    try:
        parts = urlsplit(f"//{host}")
        place = Place(unquote(parts.hostname or "localhost"), parts.port or port)
    except ValueError:
        raise ValueError("it has a host or a port that is none: HOST:PORT, and commas between several") from None
    if not host.strip() or parts.path or any(char.isspace() for char in host):
        raise ValueError("a host is missing: HOST:PORT, and commas between several")
    return place


def _database(db: str) -> int:
    if not db:
        return 0
    if not db.isdecimal():
        raise ValueError("the database is a number: redis://host:6379/0")
    return int(db)


def _tls(options: dict[str, str], wanted: bool) -> dict[str, Any] | None:
    given: dict[str, Any] = {name: options[name] for name in _TLS if name in options}
    if not wanted:
        if given:
            raise ValueError(f"{', '.join(given)}: options for TLS need rediss, with two s")
        return None
    if "ssl_check_hostname" in given:
        told = given["ssl_check_hostname"].lower()
        if told not in _TRUE | _FALSE:
            raise ValueError("ssl_check_hostname is true or false")
        given["ssl_check_hostname"] = told in _TRUE
    if "ssl_keyfile" in given and "ssl_certfile" not in given:
        raise ValueError("ssl_keyfile is the key of a certificate: give ssl_certfile, too")
    return given
