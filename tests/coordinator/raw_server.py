"""A server on a raw socket, which answers what it is told and then hangs up: whatever no HTTP library would send."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Sequence

HANGS = b"<hangs>"
RESETS = b"<resets>"


class Raw:
    """What came in. `requests` has each request, whole, as it came; `closed` is how many connections have ended."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.connections = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


@contextlib.asynccontextmanager
async def raw_server(*answers: bytes, keeps: bool = False) -> AsyncIterator[Raw]:
    """Serve: to each request the next of `answers`, the last for ever, then end the connection, unless it `keeps`.
    `RESETS` resets it in place of an answer, `HANGS` says nothing."""
    told: Sequence[bytes] = answers
    raw = Raw(0)
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections += 1
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                raw.requests.append(await _request(reader))
                answer = told[min(len(raw.requests), len(told)) - 1]
                if answer == HANGS:
                    await reader.read()
                elif answer == RESETS:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                else:
                    writer.write(answer)
                    await writer.drain()
                    if keeps:
                        continue
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def http(status: str, body: bytes = b"", *fields: str, framed: bool = True) -> bytes:
    """Return an answer's bytes."""
    length = [f"Content-Length: {len(body)}"] if framed else []
    return "\r\n".join([f"HTTP/1.1 {status}", *length, *fields, "", ""]).encode() + body
