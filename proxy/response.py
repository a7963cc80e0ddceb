"""Writing an answer: byte for byte what the tool said, framed for its caller, in as few writes as it takes.

Nothing is added but framing: no `Server`, no `Date`, no `Content-Type`.
"""

from __future__ import annotations

from http import HTTPStatus

from proxy.answer import Answer
from proxy.forward import Headers, ReplyStream, Truncated
from proxy.hang_up import on_hang_up
from proxy.inbound.request import Request

BODILESS = frozenset({204, 304})
JOIN_BYTES_MAX = 64 * 1024
"""Bodies up to here are joined to their head, so that both leave in one segment; above, the copy costs more."""

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_CLOSE, _KEEP = b"Connection: close\r\n\r\n", b"Connection: keep-alive\r\n\r\n"


class AnswerWriter:
    """Writes one answer to one request, once. `bytes_written` is for the log."""

    __slots__ = ("_answer", "_request", "bytes_written")

    def __init__(self, request: Request, answer: Answer) -> None:
        self._request = request
        self._answer = answer
        self.bytes_written = 0

    def send_whole(self) -> None:
        """Write an answer that has no stream. Raises `ConnectionError` if the caller is gone.

        Nothing waits for a caller that is slow to take it: the connection serves nobody else until it has caught up.
        """
        self._begin()

    async def send(self) -> None:
        """Write an answer, its stream at the caller's pace. A stream that is cut short ends the caller's connection, so
        that nobody takes what came for the whole. Raises `ConnectionError` if the caller is gone."""
        stream = self._answer.stream
        try:
            chunked, bodiless = self._begin()
            if stream is not None:
                await self._pump(stream, chunked=chunked, bodiless=bodiless)
        finally:
            if stream is not None:
                stream.close()
        await self._request.caller.drained()

    def _begin(self) -> tuple[bool, bool]:
        """Write the head and what there is of the body; say whether it goes in chunks, and whether it may have none."""
        request, answer = self._request, self._answer
        caller = request.caller
        transport = caller.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the caller has gone")
        request.begun = True
        keep = request.keep_alive and not answer.close and not caller.draining
        bodiless = request.method == "HEAD" or answer.status in BODILESS
        head, chunked, request.keep_alive = _head(answer, request.minor, keep=keep, bodiless=bodiless)
        body = b"" if bodiless else answer.body
        if chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if answer.stream is None:
                body += _last_chunk(answer.trailers)
        if len(body) <= JOIN_BYTES_MAX:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        self.bytes_written = len(head) + len(body)
        return chunked, bodiless

    async def _pump(self, stream: ReplyStream, *, chunked: bool, bodiless: bool) -> None:
        """Pass the stream on."""
        request = self._request
        try:
            # A tool may be silent for long: the caller's end must reach it without waiting for the next piece.
            with on_hang_up(request, stream.close):
                await self._copy(stream, chunked=chunked, bodiless=bodiless)
        except Truncated:
            request.keep_alive = False
            transport = request.caller.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the caller has gone") from None
            transport.abort() if chunked or _is_sized(self._answer.headers) else transport.close()
            raise ConnectionResetError("the tool's answer was cut, and so is the caller's connection") from None

    async def _copy(self, stream: ReplyStream, *, chunked: bool, bodiless: bool) -> None:
        caller = self._request.caller
        async for piece in stream:
            transport = caller.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the caller has gone")
            if bodiless or not piece:
                continue
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            self.bytes_written += len(piece)
            await caller.drained()
        if chunked and caller.transport is not None:
            caller.transport.write(_last_chunk(stream.trailers))


def rendered(answer: Answer) -> bytes:
    """Return a whole answer that ends its connection, to whoever it was that could not say what it wants."""
    return _head(answer, 1, keep=False, bodiless=False)[0] + answer.body


def _head(answer: Answer, minor: int, *, keep: bool, bodiless: bool) -> tuple[bytes, bool, bool]:
    """Return the head, whether the body goes in chunks, and whether the connection stays (RFC 9112, 6 and 9.3)."""
    line = None if answer.reason else _LINES.get(answer.status)
    parts = [line or b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.reason)]
    sized = bodiless
    for name, value in answer.headers:
        parts += (name, b": ", value, b"\r\n")
        if len(name) == 14 and name.lower() == b"content-length":
            sized = True
    chunked = False
    if not sized:
        if minor and (answer.stream is not None or answer.trailers):
            chunked = True
            parts.append(_CHUNKED)
        elif answer.stream is None:
            parts.append(b"Content-Length: %d\r\n" % len(answer.body))
        else:
            keep = False
    if not keep:
        parts.append(_CLOSE)
    else:
        parts.append(b"\r\n" if minor else _KEEP)
    return b"".join(parts), chunked, keep


def _is_sized(headers: Headers) -> bool:
    return any(name.lower() == b"content-length" for name, _ in headers)


def _last_chunk(trailers: Headers) -> bytes:
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in trailers)
