"""Where the Redis server is and how to log in there, as the store's URL says:

TCP, TLS (`ssl_ca_certs`, `ssl_certfile`, … as query), or a Unix socket:

    redis://[[user]:password@]host[:port][/db]
    rediss://[[user]:password@]host[:port][/db]?ssl_ca_certs=/etc/ssl/redis.pem
    unix://[[user]:password@]/path/to/socket[?db=0]
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ledger.stores.redis_errors import OPENING_FAILURES, unreachable
from ledger.stores.redis_wire import Line, take_over

CONNECT_S = 2.0
"""For name resolution, TCP, TLS and AUTH together. Callers do not wait for it beyond their own deadline."""


class Address:
    """Opens lines to one server. Raises ValueError, which never repeats the password, for a URL without sense."""

    def __init__(self, url: str, deadline_s: float) -> None:
        options: dict[str, Any] = dict(parse_url(url))
        self._connection_class: type[AbstractConnection] = options.pop("connection_class", Connection)
        self._options = options | {
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
        self._deadline_s = deadline_s
        parts = urlsplit(url)
        self.where = parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        """Host and port, or the socket's path: for messages, without user or password."""
        self._new_connection()

    def _new_connection(self) -> AbstractConnection:
        assert issubclass(self._connection_class, Connection | SSLConnection | UnixDomainSocketConnection)
        try:
            return self._connection_class(**self._options)
        except (TypeError, RedisError) as error:
            raise ValueError(
                f"the store URL for redis at {self.where} has an option that is not known: {error}"
            ) from error

    async def open(self, on_message: Callable[[bytes], None] | None = None) -> Line:
        """Return a line that is logged in. Raises `StoreUnavailable`; it tells a wrong password from a dead host.

        Each call resolves the name anew, so that a failover by DNS is followed.
        """
        connection = self._new_connection()
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py annotates it in part
                return await take_over(connection, self.where, self._deadline_s, on_message)
        except OPENING_FAILURES as error:
            await connection.disconnect(nowait=True)
            raise unreachable(error, self.where) from error
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise
