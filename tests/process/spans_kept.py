"""Tracing whose spans a test can look at, and exporters that fail."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from process.outlet import Outlet
from process.spans import OtelTracing

PATIENCE_S = 60.0
"""How long a busy machine may take to send what waits. Only a test that fails waits for as long."""


class Kept(SpanExporter):
    """Keeps what it is sent; `taking` is cleared to hold it up, `failing` makes it refuse."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.taking = threading.Event()
        self.taking.set()
        self.failing = False
        self.held = threading.Event()
        """Set once it is held up."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep them."""
        if not self.taking.is_set():
            self.held.set()
        assert self.taking.wait(PATIENCE_S), "the test never let it go on"
        if self.failing:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is left."""


class KeptTracing(OtelTracing):
    """Tracing into memory. `spans` is to be asked when all of interest has ended: it closes."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.dropped: list[tuple[str, int]] = []
        self.away: list[str] = []
        outlet = Outlet(
            self.kept, lambda why, spans: self.dropped.append((why, spans)), self.away.append, gather_s=0,
            close_s=PATIENCE_S,
        )  # fmt: skip
        super().__init__("holdfast-test", outlet)

    def spans(self) -> list[ReadableSpan]:
        """Return everything, in the order of its end."""
        self.close()
        assert not self.dropped
        return self.kept.spans


def parent_of(span: ReadableSpan) -> str:
    """Return what the span's children are told."""
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


def links_of(span: ReadableSpan) -> list[str]:
    """Return the spans that it points to, as `parent_of` names them."""
    return [
        f"00-{link.context.trace_id:032x}-{link.context.span_id:016x}-{link.context.trace_flags:02x}"
        for link in span.links
    ]
