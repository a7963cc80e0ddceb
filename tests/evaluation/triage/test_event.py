"""How far a metric is from its baseline."""

from __future__ import annotations

import pytest

from evaluation.triage.event import Metric


@pytest.mark.parametrize(
    ("value", "low", "high", "times"),
    [(6, 0, 1, 6), (0.5, 0, 1, 1), (1, 2, 4, 2), (3, 0, 0, float("inf")), (0, 2, 2, float("inf"))],
)
def test_metric_says_how_many_times_its_baseline_it_is(value: float, low: float, high: float, times: float) -> None:
    """Within the baseline it is 1; below it counts as above does; beside a baseline of nothing there is no number."""
    assert Metric(name="m", value=value, low=low, high=high).moved == times
