"""The yardstick: a reverse proxy on aiohttp that guards nothing, as a competent engineer would write it.

aiohttp's server and client on uvloop, one session with kept-alive connections, bodies whole in memory, no access log,
no decoding, no redirects, hop-by-hop fields dropped both ways. Nothing is left out of it that would make it cheaper.
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp
import uvloop
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from evaluation.address import Address, parse_address

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
REQUEST_DROPPED = HOP_BY_HOP | {"host", "content-length"}
RESPONSE_DROPPED = HOP_BY_HOP | {"content-length"}


class BareProxy:
    """Passes every request on and its reply back."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = upstream

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Pass one request on."""
        body = await request.read()
        url = URL(self._upstream + request.raw_path, encoded=True)
        headers = CIMultiDict(pair for pair in request.headers.items() if pair[0].lower() not in REQUEST_DROPPED)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as reply:
            kept = CIMultiDict(pair for pair in reply.headers.items() if pair[0].lower() not in RESPONSE_DROPPED)
            return web.Response(status=reply.status, reason=reply.reason, headers=kept, body=await reply.read())


async def serve(listen: Address, upstream: str) -> None:
    """Serve until the process ends."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )
    runner = web.ServerRunner(web.Server(BareProxy(session, upstream).handle, access_log=None))
    try:
        await runner.setup()
        await web.TCPSite(runner, listen.host, listen.port).start()
        await asyncio.get_running_loop().create_future()
    finally:
        await runner.cleanup()
        await session.close()


def main() -> None:
    """Run the proxy: `python -m evaluation.bench.bare_proxy --listen HOST:PORT --upstream URL`."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.bench.bare_proxy")
    parser.add_argument("--listen", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--upstream", required=True, metavar="URL")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.listen, arguments.upstream))


if __name__ == "__main__":
    main()
