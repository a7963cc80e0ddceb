"""Where numbers stand on a plot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.report.scale import scale_for, tick_label

numbers = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=8)


@given(numbers, st.booleans(), st.booleans())
def test_every_number_has_its_place_in_order(found: list[float], from_zero: bool, log: bool) -> None:
    """Between the ends, larger ones further on; ticks ascend from the one end to the other."""
    scale = scale_for(found, from_zero=from_zero, log=log)
    ordered = sorted(found)
    places = [scale.place(number) for number in ordered]
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 1
    assert scale.low <= ordered[0] * (1 + 1e-6)
    assert scale.high >= ordered[-1] * (1 - 1e-6)
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert (scale.ticks[0], scale.ticks[-1]) == (scale.low, scale.high)
    assert (scale.place(scale.low), scale.place(scale.high)) == (0, 1)


def test_ticks_are_round() -> None:
    """Ones, twos and fives, by powers of ten."""
    assert scale_for([3, 41], from_zero=True).ticks == (0, 10, 20, 30, 40, 50)
    assert scale_for([98.2, 99.7], from_zero=False).ticks == (98, 98.5, 99, 99.5, 100)
    assert scale_for([1.3, 14], from_zero=False, log=True).ticks == (1, 2, 5, 10, 20)
    assert [tick_label(tick) for tick in (0.1 + 0.2, 2000.0, 1.0)] == ["0.3", "2,000", "1"]


def test_share_has_no_place_above_all() -> None:
    """An axis of percentages ends at 100 at the latest."""
    assert scale_for([97, 100], from_zero=False, most=100).high == 100


def test_what_is_not_finite_is_at_the_end() -> None:
    """And moves nothing else; without any number there is an axis all the same."""
    scale = scale_for([1, math.inf, 4], from_zero=True)
    assert scale == scale_for([1, 4], from_zero=True)
    assert scale.place(math.inf) == 1
    assert scale_for([], from_zero=True).ticks[0] == 0
    assert scale_for([5, 5], from_zero=False).place(5) == pytest.approx(0)
    assert scale_for([0], from_zero=True).high > 0
    assert scale_for([0], from_zero=False, log=True).place(0) == 0
