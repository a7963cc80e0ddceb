"""Spans on their way to a collector: a real process, and what it sends over the wire."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from evaluation.address import held_address
from tests.proxy import processes
from tests.proxy.callers import ask, call
from tests.proxy.house import policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.tools import Tool, says

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nticket"


class Collector:
    """Takes spans by OTLP over HTTP, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[ExportTraceServiceRequest] = []
        self.url = ""

    def spans(self) -> list[tuple[str, Any]]:
        """Return what has come: the service's name, and the span."""
        found = []
        for asked in self.asked:
            for resource in asked.resource_spans:
                (service,) = [one.value for one in resource.resource.attributes if one.key == "service.name"]
                found += [(service.string_value, span) for scope in resource.scope_spans for span in scope.spans]
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that listens."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            collector.asked.append(ExportTraceServiceRequest.FromString(data))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        yield collector
        server.shutdown()


@contextlib.contextmanager
def traced(folder: Path, tool: Tool) -> Iterator[processes.Proxy]:
    """Run a proxy whose spans go to where the environment says."""
    policies = policy_folder(folder / "policies", policy("act"))
    with processes.proxy(folder, policies, tool.url, processes.sqlite_url(folder), "--tracing", "otlp") as proxy:
        yield proxy


def test_spans_reach_a_collector(
    tmp_path: Path, tool: Tool, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any collector reads them: name, parent, attributes, and the link from a replay to the execution."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with traced(tmp_path, tool) as proxy:
        asked = call("run-1", ("traceparent", PARENT), script=tool.script(says(REPLY)))
        for _ in range(2):
            ask(proxy.port, asked)
        until(lambda: len(collector.spans()) == 2)
        proxy.process.terminate()
        assert proxy.wait() == 0
    (service, execution), (_, replay) = collector.spans()
    assert service == "holdfast-proxy"
    assert execution.name == replay.name == "execute_tool act"
    assert execution.trace_id.hex() == PARENT[3:35]
    assert execution.parent_span_id.hex() == replay.parent_span_id.hex() == PARENT[36:52]
    assert [link.span_id for link in replay.links] == [execution.span_id]
    told = {one.key: one.value.string_value or one.value.int_value for one in execution.attributes}
    assert (told["holdfast.outcome"], told["gen_ai.tool.call.id"]) == ("executed", "call-1")


def test_collector_that_is_away_costs_no_call_and_is_told_of(
    tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls are answered as ever, the spans are counted, the log says so once, and the process ends in time."""
    with held_address() as away, contextlib.ExitStack() as stack:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", away.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")  # seconds: how long the library tries
        proxy = stack.enter_context(traced(tmp_path, tool))
        for number in range(20):
            assert ask(proxy.port, call(f"run-{number}", script=tool.script(says(REPLY)))).outcome == "executed"
        until(lambda: proxy.metric("holdfast_spans_dropped_total", why="not-taken") == 20)
        proxy.await_line("tracing.away")
        proxy.process.terminate()
        assert proxy.wait() == 0
        assert len(proxy.lines("tracing.away")) == 1
        assert proxy.errors.count("\n") == 1  # the announcement: the library's own words are not for stderr
