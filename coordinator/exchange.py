"""One HTTP exchange: a request goes out once, and ends as replied, not sent or lost.

The only file of this room that knows aiohttp's client and its exceptions. Left to itself that client re-sends, follows
redirects, decompresses, keeps cookies, reads proxies from the environment and waits for five minutes; none of that
happens here.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
from aiohttp import ClientConnectorError, ClientError, ClientTimeout, ConnectionTimeoutError, InvalidURL
from aiohttp.client_exceptions import ClientConnectorCertificateError
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

CONNECT_S = 2.0
"""For name, connection and TLS together (contract, section 6); in its time nothing has been sent."""

IDLE_S = 4.0
"""A connection is kept so long for the next request: less than the servers that we know keep theirs (5 s and more), so
that few are closed just as we write."""

HASHED_BYTES_MAX = 64 * 1024 * 1024
"""Of a body that is too large to keep: read on so far to tell its size and digest, then hung up on."""

CHUNK_BYTES = 64 * 1024

PROBE_IDLE_S, PROBE_EVERY_S, PROBES = 15, 5, 3
"""TCP's own question whether a silent peer is still there: a host that vanished is noticed within half a minute, and a
slow tool is not taken for it."""

Fields = CIMultiDict[str] | CIMultiDictProxy[str]


class Replied(Struct, frozen=True):
    """A whole answer. `body` is empty where `kept` is False: it is larger than was asked for; then `body_bytes` and
    `sha256` are of all of it, or, where `whole` is False, of as much as was read."""

    status: int
    fields: Fields
    body: bytes
    kept: bool = True
    whole: bool = True
    body_bytes: int = 0
    sha256: str = ""


class NotSent(Struct, frozen=True):
    """Provably no byte of the request was written."""

    why: str


class Lost(Struct, frozen=True):
    """Anything else: the request may have been read and acted upon."""

    why: str


class Exchange(Protocol):
    """Sends requests, each once. `AioExchange` does so over HTTP."""

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None, *, within_s: float,
        keep_bytes_max: int,
    ) -> Replied | NotSent | Lost:  # fmt: skip
        """Send a request to `url`, which is percent-encoded, and return what came of it within `within_s`. Of an
        answer's body `keep_bytes_max` are kept. Cancelling it hangs up."""

    async def close(self) -> None:
        """Let go of every connection."""


class Unsure(ClientError):
    """A connection ended after it was made. Not what aiohttp re-sends for: it re-sends for `OSError`s and hang-ups."""


async def never_again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let no connection that broke be a reason for aiohttp to send a request a second time by itself."""
    try:
        return await handler(request)
    except (ClientConnectorError, ClientConnectorCertificateError, ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, OSError) as error:
        raise Unsure(_words(error)) from error


class AioExchange:
    """See `Exchange`. `connections_max` bounds what is under way at a time; more wait for their turn, unsent."""

    def __init__(self, connections_max: int, tls: ssl.SSLContext | None = None) -> None:
        self._connections_max = connections_max
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None, *, within_s: float,
        keep_bytes_max: int,
    ) -> Replied | NotSent | Lost:  # fmt: skip
        """See `Exchange.send`."""
        try:
            async with asyncio.timeout(within_s):
                target = URL(url, encoded=True)
                async with self._open().request(
                    method, target, headers=fields, data=body, allow_redirects=False
                ) as answer:
                    return await _read(answer, keep_bytes_max)
        except (ClientConnectorError, ClientConnectorCertificateError, ConnectionTimeoutError, InvalidURL) as error:
            return NotSent(_words(error))
        except TimeoutError:
            return Lost(f"no answer within {within_s:.1f} s")
        except (ClientError, OSError, RuntimeError) as error:  # RuntimeError: uvloop's "handler is closed"
            return Lost(_words(error))

    async def close(self) -> None:
        """See `Exchange.close`."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, which belongs to the loop that it is first used on."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections_max, keepalive_timeout=IDLE_S, socket_factory=_socket,
                ssl=True if self._tls is None else self._tls,
            )  # fmt: skip
            self._session = aiohttp.ClientSession(
                connector=connector, middlewares=(never_again,), trust_env=False, auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(), headers={"Accept-Encoding": "identity"},
                timeout=ClientTimeout(total=None, sock_connect=CONNECT_S),
            )  # fmt: skip
            # Private, and without a twin in public: the middleware is what we rely on, and this says when it is gone.
            assert hasattr(self._session, "_retry_connection")
        return self._session


async def _read(answer: aiohttp.ClientResponse, keep_bytes_max: int) -> Replied | Lost:
    """Read a body, to keep it or to tell its size."""
    if not _framed(answer):
        return Lost("its end could not be told from a cut")
    digest, chunks, size = hashlib.sha256(), [], 0
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        digest.update(chunk)
        if size <= keep_bytes_max:
            chunks.append(chunk)
        if size > HASHED_BYTES_MAX:
            answer.close()
            return Replied(answer.status, answer.headers, b"", False, False, size, digest.hexdigest())
    if size > keep_bytes_max:
        return Replied(answer.status, answer.headers, b"", False, True, size, digest.hexdigest())
    return Replied(answer.status, answer.headers, b"".join(chunks), body_bytes=size)


def _framed(answer: aiohttp.ClientResponse) -> bool:
    """Say whether an answer's end is marked: one that ends with its connection looks whole when it was cut."""
    coding = answer.headers.get("Transfer-Encoding", "").lower()
    return "Content-Length" in answer.headers or coding == "chunked" or answer.status in {204, 304}


def _socket(info: tuple[Any, ...]) -> socket.socket:
    """Return a socket that asks whether a silent peer is still there."""
    family, kind, protocol = info[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", PROBE_IDLE_S), ("TCP_KEEPINTVL", PROBE_EVERY_S), ("TCP_KEEPCNT", PROBES)):
        if (option := getattr(socket, name, None)) is not None:  # spelled otherwise on some systems
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _words(error: BaseException) -> str:
    """Return what an exception says, with its kind where it says nothing."""
    return str(error) or type(error).__name__
