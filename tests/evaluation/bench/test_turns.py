"""What is read of turns: delays between the accounts of API and tools, histograms between two readings."""

from __future__ import annotations

import pytest

from evaluation.bench.turns import Delays, beyond, delays, grown, histogram, median_bound, value

EXPOSITION = """\
# TYPE holdfast_requires_action_seconds histogram
holdfast_requires_action_seconds_bucket{le="0.5"} 2.0
holdfast_requires_action_seconds_bucket{le="5.0"} 9.0
holdfast_requires_action_seconds_bucket{le="+Inf"} 10.0
holdfast_requires_action_seconds_count 10.0
holdfast_dispatch_seconds_bucket{le="0.5"} 7.0
holdfast_coordinator_store_operations_total 42.0
"""


def taken(run_id: str, step_id: str, at: float, *, was: bool = True) -> dict[str, object]:
    """Return one hand-in of outputs."""
    return {"run_id": run_id, "step_id": step_id, "at": at, "taken": was}


def effect(run_id: str, step_id: str, arrived_at: float, ts: float) -> dict[str, object]:
    """Return one effect."""
    return {"run_id": run_id, "step_id": step_id, "arrived_at": arrived_at, "ts": ts}


def test_delays_are_of_all_steps_but_the_first() -> None:
    """From the hand-in before and the time to think to the first arrival; from the last effect to the hand-in."""
    submissions = [
        taken("a", "a1", 1.0), taken("b", "b1", 1.5), taken("a", "", 2.0, was=False), taken("a", "a2", 2.0),
        taken("b", "b2", 3.0),
    ]  # fmt: skip
    effects = [
        effect("a", "a1", 0.1, 0.2), effect("a", "a2", 1.625, 1.75), effect("a", "a2", 1.5625, 1.875),
        effect("b", "b2", 2.25, 2.5),
    ]  # fmt: skip
    assert delays(submissions, effects, 0.5) == Delays((0.0625, 0.25), (0.125, 0.5))
    assert delays([], [], 0.5) == Delays((), ())


def test_histogram_is_read_by_its_own_buckets() -> None:
    """What is below a bound and above the one before it."""
    counts = histogram(EXPOSITION, "holdfast_requires_action_seconds")
    assert counts == {0.5: 2.0, 5.0: 7.0, float("inf"): 1.0}
    assert grown({0.5: 1.0, 5.0: 7.0}, counts) == {0.5: 1.0, 5.0: 0.0, float("inf"): 1.0}
    assert beyond(counts, 5.0) == 1.0
    assert beyond(counts, 0.5) == 8.0


@pytest.mark.parametrize(
    ("counts", "bound"), [({}, None), ({0.5: 0.0}, None), ({0.5: 1.0, 5.0: 3.0}, 5.0), ({0.5: 3.0, 5.0: 3.0}, 0.5)]
)
def test_median_lies_in_the_bucket_that_half_is_reached_in(counts: dict[float, float], bound: float | None) -> None:
    """Empty buckets hold no median."""
    assert median_bound(counts) == bound


def test_metric_without_labels_is_read_by_its_name() -> None:
    """0 where it has not been counted yet."""
    assert value(EXPOSITION, "holdfast_coordinator_store_operations_total") == 42.0
    assert value(EXPOSITION, "holdfast_runs_kept") == 0.0
