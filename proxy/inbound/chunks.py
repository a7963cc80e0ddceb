"""Reads a chunked body (RFC 9112, 7.1), and says to the byte where it ends: what follows is the next request.

That is why llhttp does not do it: through httptools it never tells where a message ended. What is taken here is less
than the grammar allows (no white space around a size, no line that ends in LF alone), and goes on in a framing of our
own making; `tests/proxy/inbound/test_chunks.py` holds it against llhttp. Pure.
"""

from __future__ import annotations

import re

LINE_BYTES_MAX = 4_096
"""Of a size with its extensions, and of a trailer field."""

OVERHEAD_BYTES_MAX = 16_384
"""Of all extensions and trailers of one body together: nobody reads them, so nobody needs to send more."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b(?:=(?:%b|%b))?)*" % (_TOKEN, _TOKEN, _QUOTED))
_SIZE_BEGINS = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?")
_TRAILER = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % _TOKEN)
_FRAMING = (b"content-length:", b"transfer-encoding:", b"host:")

_IN_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILERS = range(4)


class BadChunks(Exception):
    """The body breaks the rules of chunks. The message says how."""


class Chunks:
    """The state of one chunked body. `whole`: its end was seen, trailers included (they are dropped)."""

    __slots__ = ("_left", "_overhead", "_state", "_tail", "whole")

    def __init__(self) -> None:
        self.whole = False
        self._left = 0
        self._overhead = 0
        self._tail = b""
        self._state = _IN_SIZE

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take the next bytes; return the pieces of body among them, and what comes after the body's end.

        Raises `BadChunks`, and the body is lost then.
        """
        pieces: list[bytes] = []
        at = 0
        if self._tail:
            data, self._tail = self._tail + data, b""
        while not self.whole and at < len(data):
            if self._state == _IN_DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
                if not self._left:
                    self._state = _AFTER_DATA
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._wait(data[at:])
                break
            self._take(data[at:end])
            at = end + 2
        return pieces, data[at:] if self.whole else b""

    def _wait(self, tail: bytes) -> None:
        """Keep the beginning of a line until the rest comes, if it can be one."""
        if len(tail) > LINE_BYTES_MAX or b"\n" in tail or b"\r" in tail[:-1]:
            raise BadChunks("a line without an end")
        if self._state == _AFTER_DATA and tail != b"\r":
            raise BadChunks("a chunk that is longer than it said")
        if self._state == _IN_SIZE and not _SIZE_BEGINS.fullmatch(tail):
            raise BadChunks("a size that is none")
        self._tail = tail

    def _take(self, line: bytes) -> None:
        """Take a line that is not a chunk's data, without its end."""
        if len(line) > LINE_BYTES_MAX:
            raise BadChunks("a line without an end")
        if self._state == _IN_SIZE:
            found = _SIZE.fullmatch(line)
            if found is None:
                raise BadChunks("a size that is none")
            self._spend(len(line) - len(found[1]))
            self._left = int(found[1], 16)
            self._state = _IN_DATA if self._left else _IN_TRAILERS
        elif self._state == _AFTER_DATA:
            if line:
                raise BadChunks("a chunk that is longer than it said")
            self._state = _IN_SIZE
        elif line:
            if not _TRAILER.fullmatch(line) or line.lower().startswith(_FRAMING):
                raise BadChunks("a trailer that is no field, or would frame the request anew")
            self._spend(len(line))
        else:
            self.whole = True

    def _spend(self, size: int) -> None:
        self._overhead += size
        if self._overhead > OVERHEAD_BYTES_MAX:
            raise BadChunks("extensions or trailers without an end")
