"""Spans: below whom they begin, what they say to those within them, and what the process is called."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from process.spans import _resource
from tests.process.spans_kept import KeptTracing, links_of, parent_of

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"


def test_span_is_below_the_one_that_is_named_and_names_itself() -> None:
    """In the same trace, with the caller's span for its parent, and its state kept."""
    tracing = KeptTracing()
    span = tracing.begin("execute_tool act", {"a": "1", "nothing": ""}, PARENT, "vendor=7", "server")
    assert (span.trace_id, span.sampled) == (TRACE, True)
    assert span.parent.startswith(f"00-{TRACE}-")
    assert CALLER not in span.parent
    span.set({"b": True, "c": 0, "nothing": ""})
    span.end("outcome-unknown")
    span.end()
    (kept,) = tracing.spans()
    assert (kept.name, kept.kind, parent_of(kept)) == ("execute_tool act", SpanKind.SERVER, span.parent)
    assert kept.parent is not None
    assert (f"{kept.parent.span_id:016x}", kept.parent.is_remote) == (CALLER, True)
    assert kept.context is not None
    assert kept.context.trace_state.to_header() == "vendor=7"
    assert dict(kept.attributes or {}) == {"a": "1", "b": True, "c": 0, "error.type": "outcome-unknown"}
    assert kept.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("parent", ["", "not a traceparent", f"00-{'0' * 32}-{CALLER}-01"])
def test_span_without_a_parent_begins_a_trace_of_its_own(parent: str) -> None:
    """Whatever else runs in the same task."""
    tracing = KeptTracing()
    first, second = tracing.begin("a", {}), tracing.begin("b", {}, parent)
    assert first.trace_id != second.trace_id
    first.end()
    second.end()
    assert [span.parent for span in tracing.spans()] == [None, None]


def test_what_the_caller_does_not_sample_is_not_kept_and_says_so() -> None:
    """The decision goes with the trace."""
    tracing = KeptTracing()
    span = tracing.begin("a", {}, f"00-{TRACE}-{CALLER}-00")
    assert not span.sampled
    assert span.parent.startswith(f"00-{TRACE}-")
    assert span.parent.endswith("-00")
    span.link(OTHER, {})
    span.end("error")
    assert tracing.spans() == []


def test_link_points_to_another_trace() -> None:
    """Of which nothing else is known here."""
    tracing = KeptTracing()
    span = tracing.begin("a", {}, PARENT)
    span.link(OTHER, {"holdfast.link": "execution"})
    span.end()
    (kept,) = tracing.spans()
    assert links_of(kept) == [OTHER]
    assert [dict(link.attributes or {}) for link in kept.links] == [{"holdfast.link": "execution"}]


def test_process_is_called_what_the_standard_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """And by its own name where they say nothing."""
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=eu-1")
    attributes = _resource("holdfast-proxy").attributes
    assert attributes["service.name"] == "holdfast-proxy"
    assert attributes["deployment.environment"] == "eu-1"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-agent")
    assert _resource("holdfast-proxy").attributes["service.name"] == "my-agent"
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=by-attribute")
    assert _resource("holdfast-proxy").attributes["service.name"] == "by-attribute"
