"""Spans as OpenTelemetry's SDK makes them. Imported when tracing is on, and by nothing else."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from importlib import metadata

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from process.outlet import Outlet
from process.tracing import PARENT, STATE, Away, Dropped, Kind, Value

KINDS: dict[Kind, SpanKind] = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER}
_propagator = TraceContextTextMapPropagator()


class OtelSpan:
    """See `process.tracing.Span`."""

    __slots__ = ("_span", "parent", "sampled", "trace_id")

    def __init__(self, span: Span) -> None:
        context = span.get_span_context()
        self._span = span
        self.trace_id = f"{context.trace_id:032x}"
        self.sampled = context.trace_flags.sampled
        self.parent = f"00-{self.trace_id}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, attributes: Mapping[str, Value]) -> None:
        """See `process.tracing.Span.set`."""
        self._span.set_attributes({name: value for name, value in attributes.items() if value != ""})

    def link(self, parent: str, attributes: Mapping[str, Value]) -> None:
        """See `process.tracing.Span.link`."""
        self._span.add_link(_named(parent), dict(attributes))

    def end(self, error: str = "") -> None:
        """See `process.tracing.Span.end`."""
        if not self._span.is_recording():
            return  # never sampled, or ended before
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class OtelTracing:
    """See `process.tracing.Tracing`. Spans leave by `outlet`."""

    def __init__(self, service: str, outlet: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=_resource(service), shutdown_on_exit=False)
        self._provider.add_span_processor(outlet)
        self._tracer = self._provider.get_tracer("holdfast")

    def begin(
        self, name: str, attributes: Mapping[str, Value], parent: str = "", state: str = "", kind: Kind = "internal"
    ) -> OtelSpan:
        """See `process.tracing.Tracing.begin`."""
        # A context of its own: what else runs in this task is nobody's parent here.
        context = _propagator.extract({PARENT: parent, STATE: state}, Context())
        known = {name: value for name, value in attributes.items() if value != ""}
        return OtelSpan(self._tracer.start_span(name, context, KINDS[kind], known))

    def close(self) -> None:
        """See `process.tracing.Tracing.close`."""
        self._provider.shutdown()


def to_collector(service: str, dropped: Dropped, away: Away) -> OtelTracing:
    """Return tracing whose spans go to a collector by OTLP over HTTP."""
    _hush()
    return OtelTracing(service, Outlet(OTLPSpanExporter(), dropped, away))


def _named(parent: str) -> SpanContext:
    return get_current_span(_propagator.extract({PARENT: parent}, Context())).get_span_context()


def _resource(service: str) -> Resource:
    """Return what the process is called: by the standard variables, and by us where they say nothing."""
    told = {"service.name": service}
    with contextlib.suppress(metadata.PackageNotFoundError):  # a checkout that was never installed
        told["service.version"] = metadata.version("holdfast")
    given = Resource.create().attributes
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource({**told, **given} if named else {**given, **told})


def _hush() -> None:
    """Keep the library's own words from stderr: what it cannot send is counted, and told once in our log."""
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
