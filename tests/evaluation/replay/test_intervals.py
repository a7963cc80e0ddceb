"""Intervals: known answers, and coverage as they say."""

from __future__ import annotations

import math
from random import Random

import pytest

from evaluation.replay.intervals import Interval, difference, ratio, wilson

EXPERIMENTS = 200


def test_wilson_has_the_known_answers() -> None:
    """Newcombe's (1998) examples, table I: 81 of 263, 15 of 148, 0 of 20 and 1 of 29, to four digits."""
    found = {(hits, of): wilson(hits, of) for hits, of in [(81, 263), (15, 148), (0, 20), (1, 29)]}
    bounds = {case: (round(one.low, 4), round(one.high, 4)) for case, one in found.items()}
    assert bounds == {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }


@pytest.mark.parametrize(("of", "rate"), [(50, 0.1), (200, 0.02), (500, 0.5), (1000, 0.005)])
def test_wilson_covers_a_rate_about_as_often_as_it_says(of: int, rate: float) -> None:
    """Summed over all that can come of so many trials, not drawn: between 92 and 98.5 of 100."""
    covered = sum(
        math.comb(of, hits) * rate**hits * (1 - rate) ** (of - hits)
        for hits in range(min(of, round(of * rate * 4) + 30) + 1)
        if wilson(hits, of).low <= rate <= wilson(hits, of).high
    )
    assert 0.92 < covered < 0.985


def test_wilson_knows_nothing_without_trials() -> None:
    """From 0 to 1, and no figure."""
    found = wilson(0, 0)
    assert math.isnan(found.figure)
    assert (found.low, found.high) == (0, 1)


def users(chances: Random, rate: float, number: int = 80) -> dict[str, tuple[int, int]]:
    """Return users whose trials hang together: each has a rate of their own, on average `rate`."""
    counts = {}
    for name in range(number):
        of, own = 5 + int(chances.random() * 20), rate * 2 * chances.random()
        counts[f"u{name}"] = (sum(chances.random() < own for _ in range(of)), of)
    return counts


def test_cluster_bootstrap_covers_a_rate_about_as_often_as_it_says() -> None:
    """Of 200 experiments with users that differ, 90 to 99 of 100 intervals have the rate within."""
    chances = Random(1)
    found = [ratio(users(chances, 0.2), seed=place, resamples=200) for place in range(EXPERIMENTS)]
    assert 0.90 <= sum(one.low <= 0.2 <= one.high for one in found) / EXPERIMENTS <= 0.99


def test_difference_covers_what_two_rates_differ_by() -> None:
    """Of 200 pairs of experiments, 90 to 99 of 100 intervals have the difference within."""
    chances = Random(2)
    pairs = [(users(chances, 0.25), users(chances, 0.15)) for _ in range(EXPERIMENTS)]
    found = [difference(*pair, seed=place, resamples=200) for place, pair in enumerate(pairs)]
    assert 0.90 <= sum(one.low <= 0.1 <= one.high for one in found) / EXPERIMENTS <= 0.99


def test_trials_that_hang_together_are_fewer_than_they_look() -> None:
    """Ten users who always stall and ninety who never do are a hundred trials, not a thousand: the interval is far
    wider than that of independent turns, and is about that of the users."""
    counts = {f"u{name}": (10 if name < 10 else 0, 10) for name in range(100)}
    clustered, independent, by_user = ratio(counts, seed=1), wilson(100, 1_000), wilson(10, 100)
    assert clustered.figure == independent.figure == 0.1
    assert clustered.high - clustered.low > 2.5 * (independent.high - independent.low)
    assert clustered.high == pytest.approx(by_user.high, abs=0.03)


def test_nothing_seen_is_not_certainty() -> None:
    """Resampling zeros gives zeros: the bound is that of as many trials as there are users who did anything."""
    counts = {f"u{name}": (0, 30 if name < 100 else 0) for name in range(5_000)}
    assert ratio(counts, seed=1) == Interval(0, 0, wilson(0, 100).high, "Wilson over clusters")
    nothing = difference(counts, counts, seed=1)
    assert (nothing.low, nothing.figure, nothing.high) == (-wilson(0, 100).high, 0, wilson(0, 100).high)


def test_pairs_are_drawn_together() -> None:
    """Two variants that do the same to each user differ by nothing, whatever the users are like; and one that has
    a user less is not taken for one with other users."""
    counts = users(Random(3), 0.3)
    same = difference(counts, counts, seed=1)
    assert (same.low, same.figure, same.high) == (0, 0, 0)
    fewer = dict(list(counts.items())[1:])
    assert difference(counts, fewer, seed=1).high < 0.05


def test_same_seed_gives_the_same_interval() -> None:
    """In whatever order the users are named."""
    counts = users(Random(4), 0.3)
    turned = dict(reversed(counts.items()))
    assert ratio(counts, seed=5) == ratio(turned, seed=5) != ratio(counts, seed=6)
    assert difference(counts, turned, seed=5).figure == 0


def test_more_confidence_is_a_wider_interval() -> None:
    """For each kind of interval."""
    counts = users(Random(5), 0.3)
    for wide, narrow in [
        (ratio(counts, seed=1, confidence=0.99), ratio(counts, seed=1, confidence=0.9)),
        (wilson(3, 40, 0.99), wilson(3, 40, 0.9)),
    ]:
        assert wide.low < narrow.low <= narrow.figure <= narrow.high < wide.high


@pytest.mark.parametrize(("hits", "of"), [(-1, 3), (4, 3)])
def test_counts_that_cannot_be_are_refused(hits: int, of: int) -> None:
    """No more hits than trials, and no fewer than none."""
    with pytest.raises(ValueError, match="no rate"):
        wilson(hits, of)


def test_nothing_to_divide_by_is_refused() -> None:
    """A ratio to nothing is none."""
    with pytest.raises(ValueError, match="nothing to divide by"):
        ratio({"u": (0, 0)}, seed=1)
    with pytest.raises(ValueError, match="nothing to divide by"):
        difference({"u": (0, 1)}, {}, seed=1)
    with pytest.raises(ValueError, match="confidence"):
        ratio({"u": (0, 1)}, seed=1, confidence=1)
