"""How spans leave: from a bounded queue, by a thread of their own, so that nobody ever waits for a collector.

The SDK's own batches do the same, but say nowhere how much they drop.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from process.tracing import Away, Dropped

QUEUE_MAX = 4_096
"""Spans that wait, some 2 KiB each: four seconds of a thousand calls a second, and 8 MiB."""
BATCH_MAX = 512
GATHER_S = 1.0
"""Spans are sent together after this long."""
CLOSE_S = 2.0
"""For what waits when the process ends: a collector that is away must not hold up a drain."""


class Outlet(SpanProcessor):
    """Takes ended spans. `dropped` and `away` are told of what the collector did not get."""

    def __init__(
        self, exporter: SpanExporter, dropped: Dropped, away: Away, *, gather_s: float = GATHER_S,
        close_s: float = CLOSE_S,
    ) -> None:  # fmt: skip
        self._exporter = exporter
        self._dropped = dropped
        self._away = away
        self._gather_s = gather_s
        self._close_s = close_s
        self._waiting: deque[ReadableSpan] = deque()
        self._some = threading.Event()
        self._closing = threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing is to be done yet."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, if there is room. Never waits."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if len(self._waiting) >= QUEUE_MAX or self._closing.is_set():
            self._dropped("stopped" if self._closing.is_set() else "full", 1)
            return
        self._waiting.append(span)
        if not self._some.is_set():
            self._some.set()

    def shutdown(self) -> None:
        """Send what waits, for as long as `close_s`; what is left then is dropped."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._some.set()
        self._thread.join(self._close_s)
        self._exporter.shutdown()  # which also ends an exporter's waiting for its next try
        if self._waiting:
            self._dropped("stopped", len(self._waiting))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nobody asks for it: what waits leaves by itself."""
        return not self._waiting

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._closing.wait(self._gather_s)
            self._some.clear()
            until = time.monotonic() + self._close_s if self._closing.is_set() else None
            while self._waiting and (until is None or time.monotonic() < until):
                self._send([self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))])
                if until is None and self._closing.is_set():
                    until = time.monotonic() + self._close_s
            if self._closing.is_set():
                return

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
            why = "the collector did not take them"
        except Exception as error:  # noqa: BLE001  an exporter's fault must not end the thread, nor be silent
            taken, why = False, repr(error)
        if not taken:
            self._dropped("not-taken", len(batch))
            if not self._is_away:
                self._away(why)
        self._is_away = not taken
