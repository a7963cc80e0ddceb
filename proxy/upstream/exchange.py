"""One request's wait for its reply: gather it whole, or hand it over as a stream, or tell that it is lost."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable

from proxy.forward import Headers, Lost, Outcome, Replied
from proxy.upstream.glance import glance
from proxy.upstream.head import BadReply, Head
from proxy.upstream.reply import ReplyReader
from proxy.upstream.stream import Line, Stream

Informational = Callable[[int, Headers], None]


class Exchange:
    """Turns the bytes of one connection into one outcome, which is set once: by the reply or by its loss.

    reusable  whether another request may follow on the connection, once the reply is whole.
    """

    __slots__ = (
        "_gathered", "_keep_bytes_max", "_line", "_loop", "_method", "_on_informational", "_reader", "_stream",
        "outcome", "reusable",
    )  # fmt: skip

    def __init__(
        self,
        line: Line,
        loop: AbstractEventLoop,
        method: bytes,
        keep_bytes_max: int,
        on_informational: Informational | None,
    ) -> None:
        self.outcome: Future[Outcome] = loop.create_future()
        self.reusable = False
        self._line = line
        self._loop = loop
        self._method = method
        self._keep_bytes_max = keep_bytes_max
        self._on_informational = on_informational
        self._reader: ReplyReader | None = None
        self._gathered: bytearray | None = None
        self._stream: Stream | None = None

    def received(self, data: bytes) -> bool:
        """Take bytes from the tool and say whether the reply is whole now. Raises BadReply."""
        reader = self._reader
        if reader is None:
            seen = None if self._method == b"HEAD" else glance(data)
            if seen is not None:
                head, body = seen
                keep = self._keep_bytes_max
                if not keep or (len(body) <= keep and not head.event_stream):
                    self.reusable = head.keep_alive
                    self._reply(head, body, None, ())
                    return True
            reader = self._reader = ReplyReader(self._method)
        self._read_on(reader, data)
        return reader.whole

    def _read_on(self, reader: ReplyReader, data: bytes) -> None:
        """Take bytes of a reply that comes in pieces, or is not the common one. Raises BadReply."""
        body = reader.feed(data)
        head = reader.head
        if reader.interim:
            self._tell_interim(reader)
        if head is None:
            return
        if self._stream is not None:
            self._stream.push(body)
        else:
            self._gather(reader, head, body)
        if reader.whole:
            self.reusable = head.keep_alive and not reader.surplus
            if self._stream is not None:
                self._stream.finish(reader.trailers)

    def ended(self) -> None:
        """Take the connection's orderly end. Raises BadReply unless it makes the reply whole."""
        reader = self._reader
        if reader is None:
            raise BadReply("closed before the reply's head")
        reader.eof()
        if self._stream is not None:
            self._stream.finish(())
        elif reader.head is not None:
            self._gather(reader, reader.head, b"")

    def fail(self, why: str) -> None:
        """The reply will not become whole. Does nothing once it is, or was lost before."""
        if self._stream is not None:
            self._stream.fail(why)
        elif not self.outcome.done():
            self.outcome.set_result(Lost(why))

    def _tell_interim(self, reader: ReplyReader) -> None:
        interim, reader.interim = reader.interim, []
        if self._on_informational is not None:
            for status, headers in interim:
                self._on_informational(status, headers)

    def _gather(self, reader: ReplyReader, head: Head, body: bytes) -> None:
        """Keep `body`, and settle the outcome as soon as it is clear whether the reply can be kept whole."""
        if self._gathered is not None:
            self._gathered += body
        size = len(body if self._gathered is None else self._gathered)
        stream = None
        if self._must_stream(head, size, whole=reader.whole):
            stream = self._stream = Stream(self._line, self._loop)
        elif not reader.whole:
            if self._gathered is None:
                self._gathered = bytearray(body)
            return
        if self._gathered is not None:
            body, self._gathered = bytes(self._gathered), None
        self._reply(head, body, stream, reader.trailers if stream is None else ())

    def _must_stream(self, head: Head, size: int, *, whole: bool) -> bool:
        keep = self._keep_bytes_max
        if keep == 0:
            return not whole
        if head.framing == "none":
            return False
        return head.event_stream or size > keep or (head.length or 0) > keep

    def _reply(self, head: Head, body: bytes, stream: Stream | None, trailers: Headers) -> None:
        if not self.outcome.done():
            self.outcome.set_result(
                Replied(head.status, head.reason, head.headers, body, head.framing, stream, trailers)
            )
