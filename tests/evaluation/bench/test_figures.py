"""Statistics: what is measured is told, what is not stays unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.bench.figures import Case, Figures, Sample, Spread, percentile, spread
from evaluation.bench.targets import p50, server_cpu


def sample(system: str, number: int, cpu_us: float | None, p50_us: float = 1.0, workload: str = "new key") -> Sample:
    """Return a measurement at concurrency 16."""
    return Sample(Case(system, workload, 16), number, 100, 1.0, p50_us, p50_us * 2, server_cpu_us=cpu_us)


@pytest.mark.parametrize(
    ("share", "value"), [(0.01, 1), (0.5, 5), (0.51, 6), (0.9, 9), (0.91, 10), (0.99, 10), (1.0, 10)]
)
def test_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    """Of ten values the p-th percentile is the one at rank ceil(p * 10)."""
    assert percentile(list(range(1, 11)), share) == value


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_percentile_is_a_measured_value_with_that_share_below(values: list[float], share: float) -> None:
    """A percentile is one of the values, and at least that share of them is no greater."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)


def test_spread_is_median_and_extremes_of_what_was_measured() -> None:
    """Missing measurements do not count; nothing measured is nothing."""
    assert spread([3.0, None, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert spread([None]) is None
    assert spread([]) is None


def test_ratio_is_taken_within_a_round_first() -> None:
    """A slow round slows both sides: the median of the rounds' ratios stands, not the ratio of the medians."""
    figures = Figures(
        [
            *(sample("redis", number, cpu) for number, cpu in enumerate((50.0, 100.0, 900.0))),
            *(sample("bare", number, cpu) for number, cpu in enumerate((100.0, 400.0, 1000.0))),
        ]
    )
    assert figures.ratio(Case("redis", "new key", 16), "bare", server_cpu) == Spread(0.5, 0.25, 0.9)


def test_ratio_to_another_workload_is_taken_where_one_is_named() -> None:
    """A replay, which the yardstick does not know, is compared with the yardstick's new key."""
    figures = Figures([sample("redis", 0, 30.0, workload="replay"), sample("bare", 0, 120.0)])
    case = Case("redis", "replay", 16)
    assert figures.ratio(case, "bare", server_cpu) is None
    assert figures.ratio(case, "bare", server_cpu, workload="new key") == Spread(0.25, 0.25, 0.25)


def test_added_is_the_difference_within_a_round() -> None:
    """What a system adds is its reading less the yardstick's, round by round, and may be below nothing."""
    figures = Figures(
        [
            sample("bare", 0, None, 7.0),
            sample("direct", 0, None, 5.0),
            sample("bare", 1, None, 4.0),
            sample("direct", 1, None, 5.0),
        ]
    )
    assert figures.added(Case("bare", "new key", 16), "direct", p50) == Spread(0.5, -1.0, 2.0)


def test_what_was_not_measured_stays_unknown() -> None:
    """A missing case, a missing yardstick, a missing reading and a zero yardstick give no figure."""
    figures = Figures([sample("redis", 0, 30.0), sample("direct", 0, None), sample("bare", 0, 0.0)])
    case = Case("redis", "new key", 16)
    assert figures.of(Case("nginx", "new key", 16), server_cpu) is None
    assert figures.of(Case("direct", "new key", 16), server_cpu) is None
    assert figures.ratio(case, "nginx", server_cpu) is None
    assert figures.ratio(case, "direct", server_cpu) is None
    assert figures.ratio(case, "bare", server_cpu) is None
    assert figures.store_calls(case) is None


def test_store_calls_are_summed_over_their_kinds() -> None:
    """Round trips per request count whatever their kind; none at all is zero, not unknown."""
    case = Case("redis", "new key", 16)
    two = Sample(case, 0, 1, 1.0, 1.0, 1.0, store_calls={"claim": 1.0, "settle": 1.0})
    none = Sample(Case("redis", "read", 16), 0, 1, 1.0, 1.0, 1.0, store_calls={})
    assert Figures([two, none]).store_calls(case) == 2.0
    assert Figures([two, none]).store_calls(none.case) == 0.0
