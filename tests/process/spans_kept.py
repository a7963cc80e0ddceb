"""Tracing whose spans a test can look at, and exporters that fail."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from process.spans import OtelTracing


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
        assert self.taking.wait(60), "the test never let it go on"
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
        super().__init__(
            "holdfast-test", self.kept, lambda why, spans: self.dropped.append((why, spans)), self.away.append
        )

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
