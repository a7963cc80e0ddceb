"""Cuts heads out of a connection's bytes, in however many pieces they come. Pure, so that every cut can be tried."""

from __future__ import annotations

from collections.abc import Callable

from proxy.inbound.head import MALFORMED, Head, probe, read_head
from proxy.problems import Kind, Refused

HEAD_BYTES_MAX = 65_536
"""Of one head: twice what common servers allow, as for the replies of tools."""

BLANK_BYTES_MAX = 64
"""Line ends between requests are skipped, as RFC 9112, 2.2 asks for the sake of old clients; a stream of them is
none of those."""

_END = b"\r\n\r\n"


class HeadReader:
    """Reads one head after the other."""

    __slots__ = ("_blank", "_kept", "_probe")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._blank = 0
        self._probe: Callable[[bytes], None] | None = None

    @property
    def begun(self) -> bool:
        """Say whether part of a head has come in."""
        return bool(self._kept)

    def read(self, data: bytes) -> tuple[Head, bytes] | None:
        """Take the bytes that come next; return the head that they complete, and what follows it, or None so far.

        Raises `Refused` as soon as it is clear that no head of ours can begin so.
        """
        if self._kept:
            return self._read_on(data)
        if data[:1] in b"\r\n":
            data = self._skip_blank(data)
        end = data.find(_END)
        if end >= 0:
            if end > HEAD_BYTES_MAX:
                raise _too_large()
            self._blank = 0
            return read_head(data[: end + 4]), data[end + 4 :]
        if data:
            self._keep(data)
        return None

    def _read_on(self, data: bytes) -> tuple[Head, bytes] | None:
        kept = self._kept
        before = len(kept)
        if kept == b"\r":  # perhaps a line end between requests
            kept.clear()
            self._probe = None
            return self.read(b"\r" + data)
        kept += data
        end = kept.find(_END, max(0, before - 3))
        if end < 0:
            self._keep_on(data)
            return None
        if end > HEAD_BYTES_MAX:
            raise _too_large()
        section, rest = bytes(kept[: end + 4]), bytes(kept[end + 4 :])
        self._forget()
        return read_head(section), rest

    def _keep(self, data: bytes) -> None:
        self._kept += data
        if data != b"\r":
            self._probe = probe()
            self._keep_on(data)

    def _keep_on(self, data: bytes) -> None:
        """Look at the beginning of a head at once: who speaks something else is to be told before its time is over."""
        if len(self._kept) > HEAD_BYTES_MAX:
            raise _too_large()
        assert self._probe is not None
        self._probe(data)

    def _skip_blank(self, data: bytes) -> bytes:
        at = 0
        while data.startswith(b"\r\n", at):
            at += 2
        self._blank += at
        rest = data[at:]
        if self._blank > BLANK_BYTES_MAX or rest[:1] == b"\n" or (rest[:1] == b"\r" and len(rest) > 1):
            raise Refused(Kind.BAD_REQUEST, MALFORMED, close=True)
        return rest

    def _forget(self) -> None:
        self._kept = bytearray()
        self._probe = None
        self._blank = 0


def _too_large() -> Refused:
    return Refused(Kind.BAD_REQUEST, f"a head of more than {HEAD_BYTES_MAX} bytes", close=True)
