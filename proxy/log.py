"""JSON logs: one line per finished request or transition, never a body, a query string or a header's value.

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
from typing import Any, Literal

import msgspec
from msgspec import Struct

from proxy.tail import Tail

Level = Literal["debug", "info", "warning", "error"]
RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
SERVICE = "holdfast-proxy"
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


class RequestLine(Struct, omit_defaults=True, gc=False):
    """The line of one finished request (contract, section 7), without what says nothing. `bytes` were sent to the
    caller."""

    ts: str
    level: str
    service: str
    event: str
    operation: str = ""
    tenant: str = ""
    tool: str = ""
    thread_id: str = ""
    run_id: str = ""
    step_id: str = ""
    tool_call_id: str = ""
    payload_hash: str = ""
    effect_hash: str = ""
    outcome: str = ""
    how: str = ""
    would: str = ""
    problem: str = ""
    attempt: int = 0
    method: str = ""
    status: int = 0
    upstream_status: int = 0
    audit_id: str = ""
    duration_ms: float = 0.0
    late: bool = False
    bytes: int = 0
    trace_id: str = ""
    policy: str = ""
    effect_lacks: str = ""
    effect_of: str = ""


class Log:
    """Writes lines to a file descriptor. `key` makes hashes in logs useless to whoever has only the logs."""

    def __init__(
        self, fd: int = 1, *, key: bytes = b"", level: Level = "info", now: Callable[[], float] = time.time
    ) -> None:
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
        self.tails: list[Tail] = []
        """Who follows the log live: they get lines of every level."""

    def wants(self, level: Level) -> bool:
        """Say whether lines of `level` are of use to anybody, for callers whose line costs something to put
        together."""
        return self._rank <= RANKS[level] or bool(self.tails)

    def request(self, line: RequestLine) -> None:
        """Write the line of one finished request, stamped."""
        line.ts = self._timestamp()
        self._put(_encoder.encode(line), "info", soon=False)

    def event(self, event: str, *, level: Level = "info", **fields: Any) -> None:
        """Write one line; fields that say nothing (empty, zero, false, None) are left out."""
        if not self.wants(level):
            return
        line = {"ts": self._timestamp(), "level": level, "service": SERVICE, "event": event}
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

    def _timestamp(self) -> str:
        now = self._now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._prefix + _FRACTIONS[int((now - second) * 1_000)]
