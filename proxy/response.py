"""Writing an answer on aiohttp's connection: byte for byte what the tool said, in as few writes as it takes.

aiohttp's own response classes add `Server`, `Date` and `Content-Type`, and cost more than the whole rest of a replay.
The connection only needs an object that can prepare, write and say whether the connection stays open.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from aiohttp import HttpVersion11, web

from proxy.answer import Answer
from proxy.forward import Headers, ReplyStream, Truncated
from proxy.hang_up import on_hang_up

BODILESS = frozenset({204, 304})
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class AnswerWriter:
    """What aiohttp's `RequestHandler` calls on the object that a handler returns. `bytes_written` is for the log."""

    __slots__ = ("_answer", "_request", "_started", "_writer", "bytes_written", "keep_alive")

    def __init__(self, request: web.BaseRequest, answer: Answer) -> None:
        self._request = request
        self._writer = request.writer
        self._answer = answer
        self._started = False
        self.bytes_written = 0
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing to do before the body: `send` has written it, or `write_eof` will."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the answer unless `send` did."""
        if not self._started:
            await self.send()

    async def send(self) -> None:
        """Write head and body. A stream that is cut short ends the caller's connection, so that nobody takes what came
        for the whole. Raises `ConnectionError` if the caller is gone."""
        self._started = True
        request, answer = self._request, self._answer
        transport = self._writer.transport
        if transport is None or transport.is_closing():
            self._hang_up()
            raise ConnectionResetError("the caller has gone")
        bodiless = request.method == "HEAD" or answer.status in BODILESS
        chunked = self._frame(bodiless)
        head = self._head(chunked, bodiless)
        body = b"" if bodiless else answer.body
        if chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if answer.stream is None:
                body += _last_chunk(answer.trailers)
        transport.write(head + body if len(body) < 65_536 else head)
        if len(body) >= 65_536:
            transport.write(body)
        self.bytes_written = len(head) + len(body)
        if answer.stream is not None:
            await self._pump(chunked, bodiless)
        if transport.get_write_buffer_size():
            await self._writer.drain()

    def _frame(self, bodiless: bool) -> bool:
        """Decide whether the connection stays open and whether the body goes in chunks (RFC 9112, 6 and 9.3)."""
        request, answer = self._request, self._answer
        self.keep_alive = request.keep_alive and not answer.close
        if bodiless or _length(answer) is not None or (answer.stream is None and not answer.trailers):
            return False
        if request.version >= HttpVersion11:
            return True
        self.keep_alive = self.keep_alive and answer.stream is None
        return False

    def _head(self, chunked: bool, bodiless: bool) -> bytes:
        answer = self._answer
        reason = answer.reason or REASONS.get(answer.status, b"")
        lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, reason)]
        for name, value in answer.headers:
            lines += (name, b": ", value, b"\r\n")
        if chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif answer.stream is None and not bodiless and _length(answer) is None:
            lines.append(b"Content-Length: %d\r\n" % len(answer.body))
        if not self.keep_alive:
            lines.append(b"Connection: close\r\n")
        elif self._request.version < HttpVersion11:
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    async def _pump(self, chunked: bool, bodiless: bool) -> None:
        """Pass the stream on, at the caller's pace."""
        stream = self._answer.stream
        assert stream is not None
        transport = self._writer.transport
        try:
            # A tool may be silent for long: the caller's end must reach it without waiting for the next piece.
            with on_hang_up(self._request, stream.close):
                await self._copy(stream, chunked, bodiless)
        except Truncated:
            self.keep_alive = False
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the caller has gone") from None
            transport.abort() if chunked or _length(self._answer) is not None else transport.close()
            raise ConnectionResetError("the tool's answer was cut, and so is the caller's connection") from None
        finally:
            stream.close()

    async def _copy(self, stream: ReplyStream, chunked: bool, bodiless: bool) -> None:
        writer, transport = self._writer, self._writer.transport
        async for piece in stream:
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the caller has gone")
            if bodiless or not piece:
                continue
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            self.bytes_written += len(piece)
            await writer.drain()
        if chunked and transport is not None:
            transport.write(_last_chunk(stream.trailers))

    def _hang_up(self) -> None:
        if self._answer.stream is not None:
            self._answer.stream.close()


def as_response(writer: AnswerWriter) -> web.StreamResponse:
    """Tell the type checker what aiohttp needs to know."""
    return cast("web.StreamResponse", writer)


def _last_chunk(trailers: Headers) -> bytes:
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in trailers)


def _length(answer: Answer) -> bytes | None:
    for name, value in answer.headers:
        if len(name) == 14 and name.lower() == b"content-length":
            return value
    return None
