"""A tool that speaks raw bytes, so that it can do what no HTTP server library lets one do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from proxy.forward import Origin, Outbound


class Wire:
    """One accepted connection, seen from the tool."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[bytes]) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = seen

    async def request(self) -> bytes:
        """Read one request, head and body, as the bytes that came, and note it as seen."""
        whole = await self._request()
        self.seen.append(whole)
        return whole

    async def _request(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        if b"content-length" in fields:
            return head + await self.reader.readexactly(int(fields[b"content-length"]))
        if b"transfer-encoding" not in fields:
            return head
        return head + await self.reader.readuntil(b"0\r\n\r\n")

    async def send(self, data: bytes) -> None:
        """Send bytes and wait until they are with the kernel as far as the caller lets them."""
        self.writer.write(data)
        await self.writer.drain()

    async def hung_up(self) -> None:
        """Wait until the caller has closed or reset the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        """Close with RST in place of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Wire], Awaitable[Any]]


class Tool:
    """Runs a script on each connection, the last one again and again, and closes the connection when it returns.

    `connections` counts those accepted, `seen` holds every whole request, as bytes, of all of them.
    """

    def __init__(
        self, *scripts: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.connections = 0
        self.seen: list[bytes] = []
        self._scripts = scripts
        self._tls = tls
        self._host = host
        self._port = port
        self._running: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> Origin:
        """Listen, on a port of the kernel's choice unless told, and return the origin to dial."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, ssl=self._tls, backlog=512)
        return Origin("https" if self._tls else "http", self._host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and end every script."""
        assert self._server is not None
        self._server.close()
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            await script(Wire(reader, writer, self.seen))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the caller hung up, or the test is over
        finally:
            writer.close()
            self._running.discard(task)


def replies(*raw: bytes) -> Script:
    """Answer one request after the other with raw bytes, then wait for the caller to go."""

    async def script(wire: Wire) -> None:
        for data in raw:
            await wire.request()
            await wire.send(data)
        await wire.hung_up()

    return script


def ends_after(data: bytes, *, reset: bool = False) -> Script:
    """Read one request, send `data`, then close or reset."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(data)
        if reset:
            wire.reset()

    return script


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until `condition` holds. Raises TimeoutError when that takes absurdly long."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- what is waited for sets no event
            await asyncio.sleep(0.001)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(origin: Origin, method: bytes = b"GET", target: bytes = b"/", **more: Any) -> Outbound:
    """Return a request with a minimum of fields; its reply is kept up to a MiB unless `more` says otherwise."""
    return Outbound(origin, method, target, ((b"Host", b"tool"),), **({"keep_bytes_max": 1 << 20} | more))
