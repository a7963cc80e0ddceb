"""The line of a finished request: never a body, a query string or a header's value (contract, section 7)."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from process import log
from process.log import Level

SERVICE = "holdfast-proxy"


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


class Log(log.Log):
    """The proxy's lines: those of requests, and its events."""

    def __init__(
        self, fd: int = 1, *, key: bytes = b"", level: Level = "info", now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(SERVICE, fd, key=key, level=level, now=now)

    def request(self, line: RequestLine) -> None:
        """Write the line of one finished request, stamped."""
        line.ts = self.timestamp()
        self.gather(line)
