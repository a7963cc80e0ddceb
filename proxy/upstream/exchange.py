"""One request's wait for its reply: gather it whole, or hand it over as a stream, or tell that it is lost."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable

from proxy.forward import Headers, Lost, Outcome, Replied
from proxy.upstream.head import Head
from proxy.upstream.reply import ReplyReader
from proxy.upstream.stream import Line, Stream

Informational = Callable[[int, Headers], None]


class Exchange:
    """Turns the bytes of one connection into one outcome, which is set once: by the reply or by its loss."""

    __slots__ = ("_gathered", "_keep_bytes_max", "_line", "_loop", "_on_informational", "_reader", "_stream", "outcome")

    def __init__(
        self,
        line: Line,
        loop: AbstractEventLoop,
        method: bytes,
        keep_bytes_max: int,
        on_informational: Informational | None,
    ) -> None:
        self.outcome: Future[Outcome] = loop.create_future()
        self._line = line
        self._loop = loop
        self._keep_bytes_max = keep_bytes_max
        self._on_informational = on_informational
        self._reader = ReplyReader(method)
        self._gathered = bytearray()
        self._stream: Stream | None = None

    @property
    def reusable(self) -> bool:
        """Say whether another request may follow on the connection, once the reply is whole."""
        head = self._reader.head
        return head is not None and head.keep_alive and not self._reader.surplus

    def received(self, data: bytes) -> bool:
        """Take bytes from the tool and say whether the reply is whole now. Raises BadReply."""
        reader = self._reader
        body = reader.feed(data)
        if reader.interim:
            self._tell_interim()
        if self._stream is not None:
            self._stream.push(body)
        elif reader.head is not None:
            self._gather(reader.head, body)
        if reader.whole and self._stream is not None:
            self._stream.finish(reader.trailers)
        return reader.whole

    def ended(self) -> None:
        """Take the connection's orderly end. Raises BadReply unless it makes the reply whole."""
        self._reader.eof()
        if self._stream is not None:
            self._stream.finish(())
        elif self._reader.head is not None:
            self._gather(self._reader.head, b"")

    def fail(self, why: str) -> None:
        """The reply will not become whole. Does nothing once it is, or was lost before."""
        if self._stream is not None:
            self._stream.fail(why)
        elif not self.outcome.done():
            self.outcome.set_result(Lost(why))

    def _tell_interim(self) -> None:
        interim, self._reader.interim = self._reader.interim, []
        if self._on_informational is not None:
            for status, headers in interim:
                self._on_informational(status, headers)

    def _gather(self, head: Head, body: bytes) -> None:
        """Keep `body`, and settle the outcome as soon as it is clear whether the reply can be kept whole."""
        whole, keep = self._reader.whole, self._keep_bytes_max
        size = len(self._gathered) + len(body)
        if keep == 0 and whole:
            self._reply(head, body, None)
        elif self._must_stream(head, size):
            self._stream = Stream(self._line, self._loop)
            self._reply(head, body, self._stream)
        elif whole:
            self._reply(head, body, None)
        else:
            self._gathered += body

    def _must_stream(self, head: Head, size: int) -> bool:
        keep = self._keep_bytes_max
        if keep == 0:
            return True
        if head.framing == "none":
            return False
        return head.event_stream or size > keep or (head.length or 0) > keep

    def _reply(self, head: Head, body: bytes, stream: Stream | None) -> None:
        if self._gathered:
            self._gathered += body
            body = bytes(self._gathered)
            self._gathered = bytearray()
        trailers = self._reader.trailers if stream is None else ()
        if not self.outcome.done():
            self.outcome.set_result(
                Replied(head.status, head.reason, head.headers, body, head.framing, stream, trailers)
            )
