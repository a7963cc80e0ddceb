"""The proxy's health port: what the probes say of a proxy, and metrics that others can read."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.proxy import processes
from tests.proxy.house import House
from tests.proxy.tools import Tool

PROMISED = {
    "holdfast_requests", "holdfast_request_duration_seconds", "holdfast_overhead_seconds", "holdfast_upstream_attempts",
    "holdfast_upstream_duration_seconds", "holdfast_duplicates_prevented", "holdfast_late_results",
    "holdfast_caller_gone", "holdfast_unknown_operations", "holdfast_unknown_oldest_age_seconds",
    "holdfast_late_conflicts", "holdfast_store_up", "holdfast_unprotected", "holdfast_store_duration_seconds",
    "holdfast_store_errors", "holdfast_policy_generation", "holdfast_policy_reloads",
}  # fmt: skip


def test_probes_of_a_proxy_that_is_up(house: House) -> None:
    """Started, alive and ready, each with a word that says so."""
    assert house.proxy.get("/startupz") == (200, "started\n")
    assert house.proxy.get("/livez") == (200, "alive\n")
    assert house.proxy.get("/readyz") == (200, "ready\n")
    assert house.proxy.get("/elsewhere")[0] == 404


def test_every_promised_metric_is_exported_without_ids_as_labels(house: House) -> None:
    """The names and units of the contract are there, and no label holds what would make a series per call."""
    run = house.run()
    house.ask(run)
    house.ask(run)
    page = house.proxy.get("/metrics")[1]
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert not PROMISED - set(families)
    labels = {name for family in families.values() for sample in family.samples for name in sample.labels}
    assert labels <= {"tool", "outcome", "result", "how", "op", "why", "action", "le", "generation", "would"}
    assert run not in page


def test_metrics_come_in_the_format_that_is_asked_for(house: House) -> None:
    """A scraper that speaks OpenMetrics gets that."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{house.proxy.health_port}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert answer.read().endswith(b"# EOF\n")


def test_counters_follow_a_call_and_its_duplicates(house: House) -> None:
    """One execution and one replay: each is counted where the contract says, and the store was asked twice."""

    def counted() -> list[float]:
        metric = house.proxy.metric
        return [
            metric("holdfast_requests_total", tool="crowd", outcome="executed"),
            metric("holdfast_requests_total", tool="crowd", outcome="replayed"),
            metric("holdfast_request_duration_seconds_count", tool="crowd"),
            metric("holdfast_upstream_attempts_total", tool="crowd", result="replied"),
            metric("holdfast_duplicates_prevented_total", tool="crowd", how="replayed"),
            metric("holdfast_overhead_seconds_count", tool="crowd"),
            metric("holdfast_store_duration_seconds_count", op="claim")
            + metric("holdfast_store_duration_seconds_count", op="settle")
            + metric("holdfast_store_duration_seconds_count", op="read"),
        ]

    before, run = counted(), house.run()
    for _ in range(2):
        house.ask(run, tool="crowd")
    assert [after - earlier for after, earlier in zip(counted(), before, strict=True)] == [1, 1, 2, 1, 1, 1, 2]


def test_probes_never_ask_the_store(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """With the store out of reach from the start, the process is alive and not started."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        store = f"redis://127.0.0.1:{bound.getsockname()[1]}/0"
        with processes.proxy(tmp_path / "p", policies, tool.url, store, started=False) as proxy:
            proxy.await_line("store.unreachable")
            assert [proxy.get(path)[0] for path in ("/livez", "/startupz", "/readyz")] == [200, 503, 503]
            assert proxy.metric("holdfast_store_up") == 0
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 0
