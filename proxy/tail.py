"""Following the log live: each listener has a bounded queue of lines, and is told how many it missed.

A tail sees what its process logs, whatever level goes to stdout; nothing of it costs anything while nobody listens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

LINES_MAX = 1_000
"""Lines that wait for one listener: some hundred kilobytes. One that is slower than that loses the newest."""

TAILS_MAX = 16
"""Listeners at a time; each line costs each of them."""

QUIET_S = 15.0
"""After so long without a line something is sent all the same: proxies on the way close what is silent."""

FIELDS = ("event", "operation", "tool", "tenant", "run_id", "thread_id", "outcome", "level")
"""What a tail can be narrowed by; also the names of the query's parameters (`run` and `thread` for short)."""


class Lines(Struct, frozen=True):
    """What has come since the last time, as JSON, and how many lines had to be dropped."""

    lines: list[bytes]
    dropped: int


class Tail:
    """One listener. `wanted` names fields of a line and the only value that each may have."""

    def __init__(self, wanted: dict[str, str]) -> None:
        self._wanted = wanted
        self._lines: deque[bytes] = deque()
        self._dropped = 0
        self._come = asyncio.Event()
        self.closed = False

    def offer(self, line: bytes) -> None:
        """Take a line of the log, if there is room."""
        if len(self._lines) >= LINES_MAX:
            self._dropped += 1
        else:
            self._lines.append(line)
        self._come.set()

    def close(self) -> None:
        """End `follow` once it has told what it has."""
        self.closed = True
        self._come.set()

    async def follow(self, quiet_s: float = QUIET_S) -> AsyncIterator[Lines]:
        """Yield what comes, until closed; nothing at all after `quiet_s` of silence."""
        while True:
            try:
                async with asyncio.timeout(quiet_s):
                    await self._come.wait()
            except TimeoutError:
                yield Lines([], 0)
                continue
            self._come.clear()
            taken, self._lines = self._lines, deque()
            dropped, self._dropped = self._dropped, 0
            lines = [line for line in taken if not self._wanted or self._takes(msgspec.json.decode(line))]
            if lines or dropped:
                yield Lines(lines, dropped)
            if self.closed:
                return

    def _takes(self, line: dict[str, Any]) -> bool:
        return all(line.get(name) == value for name, value in self._wanted.items())
