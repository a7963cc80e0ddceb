"""Store round trips as the proxy counts them."""

from __future__ import annotations

from evaluation.bench.metrics import round_trips, store_calls

EXPOSITION = """\
# HELP holdfast_store_duration_seconds Round trips to the store.
# TYPE holdfast_store_duration_seconds histogram
holdfast_store_duration_seconds_bucket{le="0.001",op="claim"} 7.0
holdfast_store_duration_seconds_count{op="claim"} 12.0
holdfast_store_duration_seconds_sum{op="claim"} 0.5
holdfast_store_duration_seconds_count{op="settle",store="redis"} 1e+01
holdfast_store_duration_seconds_count{store="redis",op="due"} 3.0
holdfast_upstream_duration_seconds_count{tool="create_ticket"} 99.0
"""


def test_counts_are_read_by_operation() -> None:
    """Only the store's counts are read, whatever the order of the labels and the form of the number."""
    assert store_calls(EXPOSITION) == {"claim": 12.0, "settle": 10.0, "due": 3.0}
    assert store_calls("") == {}


def test_round_trips_are_the_growth_per_request_without_the_background() -> None:
    """What no request makes is left out, and so is what did not happen."""
    before = {"claim": 2.0, "due": 0.0, "beat": 1.0, "read": 5.0}
    after = {"claim": 12.0, "settle": 10.0, "due": 3.0, "beat": 4.0, "read": 5.0}
    assert round_trips(before, after, requests=10) == {"claim": 1.0, "settle": 1.0}
