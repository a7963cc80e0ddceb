"""Reads one reply from the bytes of a connection: pure, so that every way of cutting the bytes can be tried.

llhttp (through httptools) judges header sections and chunks. What it does not do for a client is done here: it has no
skip-body for HEAD, takes 1xx replies for whole messages, has no end for a body that ends with the connection, and never
says where a message ended. So the header section is cut out first and is all that a parser gets to see, with a new
parser for each; a body of known length, or one that ends with the connection, is only counted; chunks go to the parser.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.forward import Header, Headers
from proxy.upstream.head import BadReply, Head, judge

HEAD_BYTES_MAX = 64 * 1024
"""Of all header sections of one reply together, 1xx included, and of its trailers: twice what common servers allow."""

FIELDS_MAX = 256
"""Fields of one section: far above what tools send, far below what makes looking through them slow."""

_START = ord("H")


class ReplyReader:
    """The state of one reply.

    head      None until the final reply's head is in.
    interim   1xx replies that came before it, 100 left out; whoever reads them empties the list.
    trailers  the trailer section, complete once the reply is whole.
    whole     the reply's end was seen.
    surplus   bytes came after the end: the connection must not be used again.
    """

    __slots__ = (
        "_bodiless", "_complete", "_fields", "_head_bytes", "_left", "_parser", "_pieces", "_quiet_bytes", "_reason",
        "_tail", "head", "interim", "surplus", "trailers", "whole",
    )  # fmt: skip

    def __init__(self, method: bytes) -> None:
        self.head: Head | None = None
        self.interim: list[tuple[int, Headers]] = []
        self.trailers: Headers = ()
        self.whole = False
        self.surplus = False
        self._bodiless = method == b"HEAD"
        self._head_bytes = 0
        self._left = 0
        self._quiet_bytes = 0
        self._pieces: list[bytes] = []
        self._begin()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the connection and return the body bytes among them. Raises BadReply."""
        if self.head is None:
            data = self._feed_head(data)
        if self.whole:
            self.surplus = self.surplus or bool(data)
            return b""
        head = self.head
        if head is None or not data:
            return b""
        if head.framing == "length":
            return self._feed_length(data)
        return self._feed_chunked(data) if head.framing == "chunked" else data

    def eof(self) -> None:
        """Take the connection's orderly end. Raises BadReply unless that is an end for the reply as well."""
        if self.head is not None and self.head.framing == "close":
            self.whole = True
        if not self.whole:
            raise BadReply("closed " + ("before the reply's head" if self.head is None else "in the reply's body"))

    def _begin(self) -> None:
        """Prepare for a header section."""
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._reason = b""
        self._fields: list[Header] = []
        self._complete = False
        self._tail = b""

    def _feed_head(self, data: bytes) -> bytes:
        """Feed header sections up to and including the final one, and return what follows it."""
        while data:
            if not self._tail and data[0] != _START:
                raise BadReply("not an HTTP/1 reply")
            window = self._tail + data
            end = window.find(b"\r\n\r\n")
            cut = len(data) if end < 0 else end + 4 - len(self._tail)
            self._head_bytes += cut
            if self._head_bytes > HEAD_BYTES_MAX:
                raise BadReply(f"header sections of more than {HEAD_BYTES_MAX} bytes")
            self._parse_head(data[:cut])
            # llhttp and we must mean the same end: a guard against a laxer llhttp.
            if self._complete != (end >= 0) or len(self._fields) > FIELDS_MAX:
                raise BadReply(f"an ambiguous end of the header section, or more than {FIELDS_MAX} fields")
            if end < 0:
                self._tail = window[-3:]
                return b""
            data = data[cut:]
            self._finish_head()
            if self.head is not None:
                return data
        return b""

    def _parse_head(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # a 101, which is known by its status
        except HttpParserError as error:
            raise BadReply(f"malformed: {error}") from error

    def _finish_head(self) -> None:
        """Tell an interim reply from the final one."""
        parser, headers = self._parser, tuple(self._fields)
        assert parser is not None
        status = parser.get_status_code()
        if status < 100 or status == 101:
            raise BadReply(f"status {status}, which nobody asked for")
        if status < 200:
            if status > 100:
                self.interim.append((status, headers))
            self._begin()
            return
        version = parser.get_http_version()
        head = judge(status, self._reason, version, headers, bodiless=self._bodiless)
        self.head = head
        self._left = head.length or 0
        self.whole = head.framing == "none" or head.length == 0
        self._fields = []
        self._tail = b""
        if head.framing != "chunked":
            self._parser = None  # it refers to us: this cycle is not left to the garbage collector

    def _feed_length(self, data: bytes) -> bytes:
        size = len(data)
        if size > self._left:
            self.surplus = True
            size = self._left
            data = data[:size]
        self._left -= size
        self.whole = self._left == 0
        return data

    def _feed_chunked(self, data: bytes) -> bytes:
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except HttpParserError as error:
            if not self.whole:
                raise BadReply(f"malformed: {error}") from error
            self.surplus = True
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._quiet_bytes = 0 if body else self._quiet_bytes + len(data)
        if self._quiet_bytes > HEAD_BYTES_MAX or len(self._fields) > FIELDS_MAX:
            raise BadReply("trailers or chunk extensions without an end")
        self._tail = (self._tail + data[-5:])[-5:]
        if self.whole:
            self._parser = None
            self.trailers = tuple(self._fields)
            # llhttp skips line ends between messages; here they are bytes too many like any other. Before the four that
            # end the reply there is none.
            self.surplus = self.surplus or self._tail[0] in b"\r\n"
        return body

    def on_message_begin(self) -> None:
        """httptools: a message begins, which is one too many after the first."""
        self.surplus = self.surplus or self.whole

    def on_status(self, reason: bytes) -> None:
        """httptools: a piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a field of the header or the trailer section."""
        if not self.whole:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """httptools: the header section is over."""
        self._complete = True

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of a chunk; a second message in the same segment may have a body too."""
        if not self.whole:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """httptools: the last chunk and the trailers are in. Of a head alone it means nothing."""
        self.whole = self.head is not None
