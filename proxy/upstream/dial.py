"""Dial a tool: resolve, connect, shake hands, all within one deadline. Whatever fails here was provably not sent.

No socket of ours is handed to the event loop (`create_connection(sock=...)`): a cancelled connect on that path is where
uvloop before 0.23 closes a descriptor twice. TLS is a step of its own, so that the phase of a failure is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Literal

from proxy.forward import NotSent, Origin
from proxy.upstream.connection import Connection

ATTEMPT_S_MIN = 0.25
"""What each of several addresses gets at least: RFC 8305's connection attempt delay."""

Address = tuple[int, str]
"""Family and numeric host."""


def tls_context() -> ssl.SSLContext:
    """Return a context that verifies certificate and name against the system's authorities, for HTTP/1.1 alone."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def dial(
    origin: Origin, connect_ms: int, make: Callable[[], Connection], context: Callable[[], ssl.SSLContext]
) -> Connection | NotSent:
    """Return a connection to `origin` within `connect_ms`, made by `make`; `context` is asked for https only."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + connect_ms / 1000
    try:
        async with asyncio.timeout_at(deadline):
            addresses = await _resolve(loop, origin)
    except (OSError, UnicodeError) as error:
        return _not_sent("resolve", error)
    dialled = await _connect(loop, origin, addresses, deadline, make)
    if isinstance(dialled, NotSent):
        return dialled
    transport, connection = dialled
    if origin.scheme == "https":
        try:
            transport = await _secure(loop, origin, dialled, deadline, context)
        except (OSError, RuntimeError) as error:
            return _not_sent("tls", error)
    connection.adopt(transport)
    return connection


async def _resolve(loop: asyncio.AbstractEventLoop, origin: Origin) -> list[Address]:
    """Return the addresses of `origin` in the resolver's order. Raises OSError (gaierror) and UnicodeError."""
    with contextlib.suppress(socket.gaierror):  # a numeric host needs no resolver and no thread
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [(family, str(address[0])) for family, _, _, _, address in found]
    resolved = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    return [(family, str(address[0])) for family, _, _, _, address in resolved]


async def _connect(
    loop: asyncio.AbstractEventLoop,
    origin: Origin,
    addresses: list[Address],
    deadline: float,
    make: Callable[[], Connection],
) -> tuple[asyncio.Transport, Connection] | NotSent:
    """Connect to the first address that lets us, sharing what is left until `deadline` among those not yet tried."""
    failure = NotSent("resolve", "the name has no address")
    for tried, (family, host) in enumerate(addresses):
        now = loop.time()
        share = max((deadline - now) / (len(addresses) - tried), ATTEMPT_S_MIN)
        try:
            async with asyncio.timeout_at(min(deadline, now + share)):
                return await loop.create_connection(make, host, origin.port, family=family, flags=socket.AI_NUMERICHOST)
        except (OSError, RuntimeError) as error:  # RuntimeError: uvloop's `handler is closed`
            failure = _not_sent("connect", error)
    return failure


async def _secure(
    loop: asyncio.AbstractEventLoop,
    origin: Origin,
    dialled: tuple[asyncio.Transport, Connection],
    deadline: float,
    context: Callable[[], ssl.SSLContext],
) -> asyncio.Transport:
    """Shake hands over a connected transport, closed if that fails. Raises OSError (SSLError) and RuntimeError."""
    transport, connection = dialled
    if transport.is_closing():  # nobody would ever end the handshake
        raise ConnectionResetError("closed before the TLS handshake")
    try:
        # A trailing dot makes a name absolute for the resolver; certificates do not carry it.
        name = origin.host.removesuffix(".")
        async with asyncio.timeout_at(deadline):
            secured = await loop.start_tls(transport, connection, context(), server_hostname=name)
    except BaseException:
        transport.abort()
        raise
    if secured is None:
        raise ConnectionResetError("closed in the TLS handshake")
    return secured


def _not_sent(phase: Literal["resolve", "connect", "tls"], error: Exception) -> NotSent:
    timed_out = isinstance(error, TimeoutError)
    return NotSent(phase, str(error) or ("timed out" if timed_out else type(error).__name__), timed_out)
