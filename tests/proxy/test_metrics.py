"""The metrics that the contract names are there, under those names, with those labels."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from proxy.metrics import Metrics

CONTRACT = {
    "requests_total": {"tool", "outcome"},
    "request_duration_seconds": {"tool", "outcome"},
    "overhead_seconds": {"tool"},
    "upstream_attempts_total": {"tool", "result"},
    "upstream_duration_seconds": {"tool"},
    "duplicates_prevented_total": {"tool", "how"},
    "late_results_total": {"tool"},
    "caller_gone_total": {"tool"},
    "unknown_operations": {"tool"},
    "unknown_oldest_age_seconds": set(),
    "late_conflicts_total": {"tool"},
    "store_up": set(),
    "unprotected_total": {"tool", "why"},
    "store_duration_seconds": {"op"},
    "store_errors_total": {"op"},
    "policy_generation": set(),
    "policy_reloads_total": {"result"},
}
"""Contract, section 7; what it names for effect keys comes with them."""

NO_IDS = {"operation", "run_id", "tool_call_id", "thread_id", "tenant", "user_id"}


def exported(metrics: Metrics) -> dict[str, set[str]]:
    """Return what a scrape shows: each sample's metric and its labels."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            name = family.name + "_total" if family.type == "counter" else family.name
            found.setdefault(name.removeprefix("holdfast_"), set()).update(set(sample.labels) - {"le"})
    return found


def used() -> Metrics:
    """Return metrics of which each has been used once."""
    metrics = Metrics()
    metrics.answered("t", "executed", 0.02)
    metrics.forwarded("t", 0.018, 0.002)
    metrics.upstream_attempts.add("t", "replied")
    metrics.duplicates_prevented.add("t", "joined")
    metrics.store_duration.child("claim").observe(0.001)
    metrics.store_failed("claim")
    metrics.store_answered()
    for counter in (
        metrics.late_results,
        metrics.caller_gone,
        metrics.late_conflicts,
        metrics.claims_lost,
        metrics.lapsed,
    ):
        counter.labels("t").inc()
    metrics.unprotected.labels("t", "store-down").inc()
    metrics.policy_reloads.labels("accepted").inc()
    metrics.unknown_operations.labels("t").set(1)
    return metrics


@pytest.mark.parametrize("name", CONTRACT)
def test_metric_of_the_contract_is_exported_with_its_labels(name: str) -> None:
    """Dashboards and alerts are written against these."""
    assert exported(used())[name] == CONTRACT[name]


def test_no_metric_has_an_id_for_a_label() -> None:
    """A time series for each call would be the end of the collector."""
    for labels in exported(used()).values():
        assert not labels & NO_IDS


def test_what_was_counted_is_what_is_scraped() -> None:
    """Counters, sums and buckets."""
    metrics = used()
    metrics.answered("t", "executed", 3.0)
    value = metrics.registry.get_sample_value
    labels = {"tool": "t", "outcome": "executed"}
    assert value("holdfast_requests_total", labels) == 2
    assert value("holdfast_request_duration_seconds_count", labels) == 2
    assert value("holdfast_request_duration_seconds_sum", labels) == pytest.approx(3.02)
    assert value("holdfast_request_duration_seconds_bucket", {**labels, "le": "0.025"}) == 1
    assert value("holdfast_request_duration_seconds_bucket", {**labels, "le": "+Inf"}) == 2
    assert value("holdfast_overhead_seconds_sum", {"tool": "t"}) == pytest.approx(0.002)


def test_store_is_up_when_it_was_last_heard_of() -> None:
    """Down after a failure, up after an answer, however often."""
    metrics = Metrics()
    for happened, up in ((metrics.store_answered, 1), (metrics.store_answered, 1)):
        happened()
        assert metrics.registry.get_sample_value("holdfast_store_up") == up
    metrics.store_failed("read")
    assert metrics.registry.get_sample_value("holdfast_store_up") == 0
    metrics.store_answered()
    assert metrics.registry.get_sample_value("holdfast_store_up") == 1


def test_two_proxies_in_one_process_count_apart() -> None:
    """Each has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.answered("t", "executed", 1)
    assert other.registry.get_sample_value("holdfast_requests_total", {"tool": "t", "outcome": "executed"}) is None


RARE = {
    "holdfast_late_conflicts_total": {"tool": "t"},
    "holdfast_claims_lost_total": {"tool": "t"},
    "holdfast_unprotected_total": {"tool": "t", "why": "store-down"},
    "holdfast_duplicates_prevented_total": {"tool": "t", "how": "key-reused"},
    "holdfast_policy_reloads_total": {"result": "rejected"},
}


@pytest.mark.parametrize("name", RARE)
def test_what_must_be_noticed_at_its_first_time_is_shown_before_it(name: str) -> None:
    """As zero: of a counter that begins with one, Prometheus sees no increase, and no alert would fire."""
    metrics = Metrics()
    metrics.expect(["t"])
    assert metrics.registry.get_sample_value(name, RARE[name]) == 0


def test_expecting_a_tool_again_forgets_nothing() -> None:
    """A reload expects the tools of the new set."""
    metrics = Metrics()
    metrics.claims_lost.labels("t").inc()
    metrics.duplicates_prevented.add("t", "key-reused")
    metrics.expect(["t", "new"])
    value = metrics.registry.get_sample_value
    assert value("holdfast_claims_lost_total", {"tool": "t"}) == 1
    assert value("holdfast_duplicates_prevented_total", {"tool": "t", "how": "key-reused"}) == 1
