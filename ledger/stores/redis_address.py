"""Opening and logging in: redis-py's handshake, to a server that stays where it is or one that has to be looked for.

What a password file holds, and certificates, are read at each login, and a host's name is resolved anew: what was
rotated, or has moved behind a name, is found by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ledger.store import StoreUnavailable
from ledger.stores.redis_errors import OPENING_FAILURES, unreachable
from ledger.stores.redis_url import Credentials, Place, StoreUrl, Topology
from ledger.stores.redis_wire import Line, take_over

CONNECT_S = 2.0
"""For name resolution, TCP, TLS and AUTH together. Callers do not wait for it beyond their own deadline."""
PASSWORD_BYTES_MAX = 4_096
TLS_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})

OnMessage = Callable[[bytes], None]
OnMoved = Callable[[str], None]


class Address(Protocol):
    """Opens lines to the server that is to be asked, wherever that is at the moment."""

    where: str
    """For messages, without user or password."""
    topology: Topology

    async def open(self, on_message: OnMessage | None = None) -> Line:
        """Return a line that is logged in. Raises `StoreUnavailable`; it tells a wrong password from a dead host."""

    def look_out(self, on_moved: OnMoved) -> None:
        """From now on, call `on_moved` with where the server is as soon as that is heard to have changed."""

    async def close(self) -> None:
        """Look out no more."""


class Login:
    """How to log in, and whether by TLS: the same for each server that a URL means."""

    def __init__(self, credentials: Credentials, tls: dict[str, Any] | None, deadline_s: float, db: int = 0) -> None:
        self._credentials = credentials
        self._deadline_s = deadline_s
        self._class = Connection if tls is None else SSLConnection
        self._options: dict[str, Any] = (tls or {}) | {
            "db": db,
            # redis-py would execute a command up to eleven times by itself; we repeat, once, by version.
            "retry": Retry(NoBackoff(), 0),
            # These bound the handshake only: afterwards the transport is ours, and the line has its own watchdog.
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": CONNECT_S,
            "health_check_interval": 0,
            "protocol": 2,
            "decode_responses": False,
            "driver_info": None,
        }

    async def to(self, place: Place | str, on_message: OnMessage | None = None) -> Line:
        """Return a line to a host and port, or to a Unix socket by its path. Raises `StoreUnavailable`."""
        where = str(place)
        connection = self._new_connection(place, where)
        task = asyncio.current_task()
        assert task is not None
        cancelled = task.cancelling()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py annotates it in part
                if task.cancelling() > cancelled:
                    # It sends by `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes just as
                    # it is done: whoever cancelled us would wait for ever.
                    raise asyncio.CancelledError  # noqa: TRY301 -- the time-out around it has to see it
                return await take_over(connection, where, self._deadline_s, on_message)
        except OPENING_FAILURES as error:
            await connection.disconnect(nowait=True)
            raise unreachable(error, where) from error
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise

    def _new_connection(self, place: Place | str, where: str) -> AbstractConnection:
        for name in TLS_FILES & self._options.keys():
            _check_readable(name, self._options[name], where)
        login: dict[str, Any] = {
            "username": self._credentials.username,
            "password": read_password(self._credentials, where),
        }
        if isinstance(place, str):
            return UnixDomainSocketConnection(path=place, **login, **self._options)
        return self._class(host=place.host, port=place.port, **login, **self._options)


def read_password(credentials: Credentials, where: str) -> str | None:
    """Return the password, as it is now. Raises StoreUnavailable where its file cannot be read, or is empty."""
    if credentials.password_file is None:
        return credentials.password
    try:
        with Path(credentials.password_file).open(encoding="utf-8") as file:
            password = file.read(PASSWORD_BYTES_MAX).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StoreUnavailable(
            f"redis at {where}: the password file {credentials.password_file} cannot be read ({why})"
        ) from None
    if not password:
        raise StoreUnavailable(f"redis at {where}: the password file {credentials.password_file} is empty")
    return password


def _check_readable(name: str, path: str, where: str) -> None:
    """Raise StoreUnavailable unless the file can be read: `ssl` would not say which one it is that cannot."""
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise StoreUnavailable(f"redis at {where}: {name}={path} cannot be read ({error.strerror})") from None


class OneServer:
    """The address of a server that stays where it is, or whose name is moved with it."""

    def __init__(self, login: Login, place: Place | str, topology: Topology = "single") -> None:
        self._login = login
        self._place = place
        self.where = str(place)
        self.topology = topology

    async def open(self, on_message: OnMessage | None = None) -> Line:
        """See `Address.open`."""
        return await self._login.to(self._place, on_message)

    def look_out(self, on_moved: OnMoved) -> None:
        """See `Address.look_out`. Nobody tells."""

    async def close(self) -> None:
        """See `Address.close`."""


def address_of(url: StoreUrl, deadline_s: float) -> Address:
    """Return the address of the server that `url` means; a cluster has many, see `ledger.stores.redis_cluster`."""
    login = Login(url.credentials, url.tls, deadline_s, url.db)
    if url.topology == "sentinel":
        from ledger.stores.redis_sentinel import Sentinels

        return Sentinels(url, login, deadline_s)
    return OneServer(login, url.path or url.places[0])
