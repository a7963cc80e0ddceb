"""One HTTP exchange: a request goes out once, and ends as replied, not sent or lost.

The only file of this folder that knows aiohttp's client and its exceptions. Left to itself that client re-sends some
requests when a connection breaks, and follows redirects; whatever is sent twice here is to be a decision of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import aiohttp
from aiohttp import ClientConnectorError, ClientError, ClientTimeout, ConnectionTimeoutError
from msgspec import Struct

CONNECT_S = 2.0
IDLE_S = 4.0
"""A connection is kept so long for the next request: less than servers keep theirs, so that few are closed under us."""


class Replied(Struct, frozen=True):
    """A whole answer; `fields` are its header fields by their names in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class NotSent(Struct, frozen=True):
    """No connection was made."""

    why: str


class Lost(Struct, frozen=True):
    """The request went out, and no whole answer came: `timed_out`, or the connection broke."""

    why: str
    timed_out: bool = False


class _Broken(ClientError):
    """A connection ended after it was made. Not what aiohttp re-sends for: it re-sends for `OSError`s and hang-ups."""


async def _never_again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except (ClientConnectorError, ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, OSError) as error:
        raise _Broken(str(error) or type(error).__name__) from error


class Exchange(Protocol):
    """Sends requests, each once. `HttpExchange` does so over HTTP."""

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None = None, *, within_s: float
    ) -> Replied | NotSent | Lost:
        """Send a request, and return what came of it within `within_s`. Cancelling it hangs up."""

    async def close(self) -> None:
        """Let go of every connection."""


class HttpExchange:
    """See `Exchange`. At most `connections_max` connections are open; who needs one more waits, unsent."""

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None = None, *, within_s: float
    ) -> Replied | NotSent | Lost:
        """See `Exchange`."""
        try:
            async with (
                asyncio.timeout(within_s),
                self._open().request(method, url, headers=fields, data=body, allow_redirects=False) as answer,
            ):
                told = {name.lower(): value for name, value in answer.headers.items()}
                return Replied(answer.status, told, await answer.read())
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            return NotSent(str(error) or type(error).__name__)
        except TimeoutError:
            return Lost(f"no answer within {within_s:g} s", timed_out=True)
        except (ClientError, OSError, RuntimeError) as error:  # RuntimeError: uvloop's "handler is closed"
            return Lost(str(error) or type(error).__name__)

    async def close(self) -> None:
        """See `Exchange`."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Return the session, which belongs to the loop that it is first used on."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections_max, keepalive_timeout=IDLE_S),
                middlewares=(_never_again,), trust_env=False, cookie_jar=aiohttp.DummyCookieJar(),
                timeout=ClientTimeout(total=None, sock_connect=CONNECT_S),
            )  # fmt: skip
        return self._session
