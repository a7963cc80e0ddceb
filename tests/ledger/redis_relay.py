"""A relay between a store and its server that can lose replies, refuse connections, speak TLS, or talk nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator


class Relay:
    """Forwards bytes both ways between a loopback port and the server's socket.

    The replies to the next `cuts` scripts are not passed on: the connection is closed in their place, the script run.
    `nonsense`, when set, is sent in place of each reply. From connection
    `deaf_from` on (the first is 1), what clients send is swallowed.
    `surplus` follows each chunk of replies, unasked.
    """

    def __init__(self, server_path: str) -> None:
        self.cuts = 0
        self.nonsense = b""
        self.deaf_from: int | None = None
        self.surplus = b""
        self.opened = 0
        """Connections that were made so far."""
        self.sent = bytearray()
        """What clients sent, of all connections."""
        self.port = 0
        self.server_path = server_path
        """Where connections lead that are made from now on."""
        self._pumps: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.opened += 1
        number = self.opened
        far_reader, far_writer = await asyncio.open_unix_connection(self.server_path)
        script_sent = asyncio.Event()
        up = asyncio.ensure_future(self._commands(number, reader, far_writer, script_sent))
        down = asyncio.ensure_future(self._replies(far_reader, writer, script_sent))
        self._pumps |= {up, down}
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        await asyncio.wait([up, down])
        for end in (writer, far_writer):
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()
        self._pumps -= {up, down}
        self._idle.set()

    async def _commands(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, script_sent: asyncio.Event
    ) -> None:
        while data := await reader.read(65_536):
            self.sent += data
            if b"EVALSHA" in data:
                script_sent.set()
            if self.deaf_from is not None and number >= self.deaf_from:
                continue
            writer.write(data)

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, script_sent: asyncio.Event
    ) -> None:
        while data := await reader.read(65_536):
            if self.cuts and script_sent.is_set():
                self.cuts -= 1
                return
            writer.write((self.nonsense or data) + self.surplus)

    async def hang_up(self) -> None:
        """Close every connection, and return when they are closed."""
        # The pumps end, not `accept` itself: asyncio's streams would report its cancellation as an error.
        for pump in self._pumps:
            pump.cancel()
        while self._pumps:
            self._idle.clear()
            await self._idle.wait()


@contextlib.asynccontextmanager
async def relay_to(server_path: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """Yield a relay on a port of its own."""
    relay = Relay(server_path)
    listener = await asyncio.start_server(relay.accept, "127.0.0.1", 0, ssl=tls)
    relay.port = listener.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        listener.close()
        await relay.hang_up()
        await listener.wait_closed()
