"""A caller without a socket: a request goes in as bytes, and what comes back is read as any client would."""

from __future__ import annotations

import asyncio
import http.client
import io
from typing import Any, cast

from msgspec import Struct

from proxy.forward import Headers
from proxy.inbound.server import Server


class Answered(Struct, frozen=True):
    """What a caller got. `whole` is False for an answer that was cut short."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool = True

    def header(self, name: str) -> str | None:
        """Return a header field by its name; the first of several."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Wire(asyncio.Transport):
    """The proxy's end of a connection that is no socket; it keeps what is written to it."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._closing = False
        self.written = bytearray()
        self.closed = asyncio.get_running_loop().create_future()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take what the proxy sends."""
        if not self._closing:
            self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is no socket to tell anything of."""
        return default

    def is_closing(self) -> bool:
        """Say whether either side has ended it."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Whatever is written has arrived."""
        return 0

    def pause_reading(self) -> None:
        """Requests come in whole."""

    def resume_reading(self) -> None:
        """As above."""

    def can_write_eof(self) -> bool:
        """Nothing is lost here when both sides are ended at once."""
        return False

    def close(self) -> None:
        """End it, from either side."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        """The same, since nothing is buffered."""
        self.close()

    def _lost(self) -> None:
        self._protocol.connection_lost(None)
        self.closed.set_result(None)


async def ask(
    server: Server, method: str, target: str, headers: Headers, body: bytes, *, hang_up_s: float | None = None
) -> Answered | None:
    """Send a request over a connection of its own; return what came back, or None if the caller hung up before."""
    protocol = server()
    wire = Wire(protocol)
    protocol.connection_made(wire)
    protocol.data_received(_written(method, target, headers, body))
    try:
        async with asyncio.timeout(hang_up_s):
            await asyncio.shield(wire.closed)
    except TimeoutError:
        wire.close()
        return None
    return _read(method, bytes(wire.written))


def _written(method: str, target: str, headers: Headers, body: bytes) -> bytes:
    named = {name.lower() for name, _ in headers}
    lines = [f"{method} {target} HTTP/1.1".encode()]
    if b"host" not in named:
        lines.append(b"Host: proxy.internal")
    lines += [b"%b: %b" % field for field in headers]
    if (body or method not in {"GET", "HEAD"}) and b"content-length" not in named:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body


class _Heard:
    """What http.client takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def _read(method: str, data: bytes) -> Answered | None:
    response = http.client.HTTPResponse(cast("Any", _Heard(data)), method=method)
    try:
        response.begin()
    except (http.client.HTTPException, ValueError):
        return None
    try:
        body, whole = response.read(), True
    except http.client.IncompleteRead as cut:
        body, whole = cut.partial, False
    return Answered(response.status, tuple(response.getheaders()), body, whole)
