"""JSON logs: one line for each thing that happened to a run; never an argument, an output or a message's text."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Level = Literal["debug", "info", "warning", "error"]
RANKS = {"debug": 0, "info": 1, "warning": 2, "error": 3}
SERVICE = "holdfast-coordinator"


class Log:
    """Writes lines to a file descriptor, each with one call. A reader that is gone loses lines, and no run its care."""

    def __init__(self, fd: int = 1, *, level: Level = "info", now: Callable[[], float] = time.time) -> None:
        self._fd = fd
        self._rank = RANKS[level]
        self._now = now
        self.dropped = 0

    def event(self, event: str, *, level: Level = "info", **fields: Any) -> None:
        """Write one line; fields that say nothing (empty, zero, false, None) are left out."""
        if RANKS[level] < self._rank:
            return
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"ts": at, "level": level, "service": SERVICE, "event": event}
        line.update((name, value) for name, value in fields.items() if value)
        try:
            os.write(self._fd, msgspec.json.encode(line) + b"\n")
        except OSError:
            self.dropped += 1
