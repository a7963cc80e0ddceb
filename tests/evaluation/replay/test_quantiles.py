"""Quantiles of times, and how sure they are."""

from __future__ import annotations

import math
from random import Random

import pytest

from evaluation.replay.quantiles import Quantiles

SHARES = (0.5, 0.95)


def timed(seed: int, factor: float = 1.0, clusters: int = 40, each: int = 10) -> list[tuple[float, int]]:
    """Return times of clusters, each of which is slow or fast by itself."""
    chances = Random(seed)
    own = [chances.lognormvariate(0, 0.3) for _ in range(clusters)]
    return [(factor * own[c] * chances.lognormvariate(0, 0.3), c) for c in range(clusters) for _ in range(each)]


def quantiles(times: list[tuple[float, int]], clusters: int = 40) -> Quantiles:
    """Return their quantiles, with fewer resamples than a report has."""
    return Quantiles(times, SHARES, clusters=clusters, seed=1, resamples=100)


def test_quantile_is_the_time_that_enough_turns_are_no_longer_than() -> None:
    """Of 1 to 100 s: half are no longer than 50, 95 of 100 no longer than 95, in whatever order they come."""
    times = [(float(second), second % 40) for second in range(100, 0, -1)]
    found = quantiles(times)
    assert (found.interval(0.5).figure, found.interval(0.95).figure) == (50, 95)
    assert found.interval(0.5).low < 50 < found.interval(0.5).high
    assert found.interval(0.5).method == "cluster bootstrap"


def test_interval_covers_the_median_about_as_often_as_it_says() -> None:
    """The median of all that might be drawn is 1: of 60 experiments, 50 or more have it within."""
    found = [quantiles(timed(seed)).interval(0.5) for seed in range(60)]
    assert 50 <= sum(one.low <= 1 <= one.high for one in found) <= 60


def test_users_are_drawn_in_pairs() -> None:
    """A variant that takes 1.2 times as long with each turn does so for certain, however different users are."""
    base, slower = quantiles(timed(1)), quantiles(timed(1, factor=1.2))
    found = slower.ratio(base, 0.5)
    assert (found.low, found.figure, found.high) == pytest.approx((1.2, 1.2, 1.2))
    assert found.method == "paired cluster bootstrap"
    assert quantiles(timed(2)).ratio(base, 0.5).high - quantiles(timed(2)).ratio(base, 0.5).low > 0.1


def test_turns_that_never_ended_are_longer_than_any() -> None:
    """A quantile among them is infinite, and so is the end of an interval that reaches them."""
    times = [(1.0 if place % 10 else math.inf, place % 40) for place in range(400)]
    found = quantiles(times)
    assert (found.interval(0.5).figure, found.interval(0.5).high) == (1, 1)
    assert math.isinf(found.interval(0.95).figure)
    with pytest.raises(ValueError, match="nothing to divide by"):
        found.ratio(found, 0.95)
    assert quantiles([(1.0, 0)], 1).ratio(quantiles([(2.0, 0)], 1), 0.5).figure == 0.5


def test_without_times_there_is_no_quantile() -> None:
    """Nothing is made of nothing."""
    with pytest.raises(ValueError, match="no times"):
        quantiles([]).interval(0.5)
    with pytest.raises(ValueError, match="nothing to divide by"):
        quantiles([]).ratio(quantiles([(1.0, 0)]), 0.5)


def test_cluster_that_is_not_drawn_leaves_no_hole() -> None:
    """Where all turns are one user's, a resample without that user says nothing and is left out."""
    found = quantiles([(1.0, 3), (2.0, 3), (3.0, 3)]).interval(0.5)
    assert (found.low, found.figure, found.high) == (2, 2, 2)
