"""JSON logs: one line for each thing that happened, written without ever waiting for whoever reads them.

Lines are gathered: what is worth a look leaves with its turn of the event loop, the rest a little later.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import stat
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

Level = Literal["debug", "info", "warning", "error"]
RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
GATHER_S = 0.02
GATHERED_BYTES = 32 * 1024
"""Lines of finished requests are written together, after this long or this much: a write a turn of the event loop was a
fifth of a replay's cost. All other lines leave with their turn, and take along what waits."""

PENDING_BYTES_MAX = 4 * 1024 * 1024
"""A reader of our output that has stopped must not fill our memory: beyond this, lines are dropped and counted."""

WAIT_S = 0.05
"""Between looks at a reader that has fallen behind."""

_encoder = msgspec.json.Encoder()
_FRACTIONS = tuple(f".{millisecond:03d}Z" for millisecond in range(1_000))


class Follower(Protocol):
    """Who follows the log live."""

    def offer(self, line: bytes) -> None:
        """Take a line, if there is room."""

    def close(self) -> None:
        """There is no more to come."""


class Log:
    """Writes the lines of `service` to a file descriptor. `key` makes hashes in logs useless to whoever has only the
    logs."""

    def __init__(
        self, service: str, fd: int = 1, *, key: bytes = b"", level: Level = "info",
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._service = service
        self._fd = fd
        self._poll = None if stat.S_ISREG(os.fstat(fd).st_mode) else select.poll()
        if self._poll is not None:
            self._poll.register(fd, select.POLLOUT)
        self._keyed = hashlib.blake2b(digest_size=8, key=hashlib.sha256(key).digest())
        self._rank = RANKS[level]
        self._now = now
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._scheduled = False
        self._soon = False
        self._second = -1
        self._prefix = ""
        self.dropped = 0
        self.tails: list[Follower] = []
        """Who follows the log live: they get lines of every level."""

    def wants(self, level: Level) -> bool:
        """Say whether lines of `level` are of use to anybody, for callers whose line costs something to put
        together."""
        return self._rank <= RANKS[level] or bool(self.tails)

    def gather(self, line: Struct, level: Level = "info") -> None:
        """Write a line that has its own shape, and its `ts` from `timestamp`, with others like it a little later."""
        self._put(_encoder.encode(line), level, soon=False)

    def event(self, event: str, *, level: Level = "info", **fields: Any) -> None:
        """Write one line; fields that say nothing (empty, zero, false, None) are left out."""
        if not self.wants(level):
            return
        line = {"ts": self.timestamp(), "level": level, "service": self._service, "event": event}
        line.update((name, value) for name, value in fields.items() if value)
        self._put(_encoder.encode(line), level, soon=True)

    def keyed(self, value: str) -> str:
        """Return a short keyed hash of `value`: equal values look equal, and nothing else can be told."""
        keyed = self._keyed.copy()
        keyed.update(value.encode("utf-8", "surrogateescape"))
        return keyed.hexdigest()

    def flush(self) -> None:
        """Write what is pending, as much as goes without waiting for the reader. One that is gone loses lines; that is
        no reason to stop guarding calls."""
        self._scheduled = self._soon = False
        data, self._pending, self._pending_bytes = memoryview(b"".join(self._pending)), [], 0
        try:
            while data and self._takes_more():
                # A pipe that is writable takes this much without waiting; the descriptor itself may well block.
                data = data[os.write(self._fd, data if self._poll is None else data[: select.PIPE_BUF]) :]
        except BlockingIOError:
            pass
        except OSError:
            self.dropped += bytes(data).count(b"\n")
            return
        if data:
            self._keep(bytes(data))

    def _takes_more(self) -> bool:
        return self._poll is None or bool(self._poll.poll(0))

    def _keep(self, data: bytes) -> None:
        """Look again in a while, if there is a loop that could."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.dropped += data.count(b"\n")
            return
        self._pending, self._pending_bytes, self._scheduled = [data], len(data), True
        loop.call_later(WAIT_S, self.flush)

    def _put(self, line: bytes, level: Level, *, soon: bool) -> None:
        for tail in self.tails:
            tail.offer(line)
        if RANKS[level] < self._rank:
            return
        if self._pending_bytes > PENDING_BYTES_MAX:
            self.dropped += 1
            return
        self._pending.append(line + b"\n")
        self._pending_bytes += len(line) + 1
        if soon or self._pending_bytes > GATHERED_BYTES:
            if not self._soon:
                self._soon = True
                self._schedule(0)
        elif not self._scheduled:
            self._scheduled = True
            self._schedule(GATHER_S)

    def _schedule(self, delay_s: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if delay_s:
            loop.call_later(delay_s, self.flush)
        else:
            loop.call_soon(self.flush)

    def timestamp(self) -> str:
        """Return now as lines have it: RFC 3339, in UTC, to the millisecond."""
        now = self._now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._prefix + _FRACTIONS[int((now - second) * 1_000)]
