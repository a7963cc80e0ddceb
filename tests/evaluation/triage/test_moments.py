"""Times as logs write them, and the dates of those that have none."""

from __future__ import annotations

import math

import pytest

from evaluation.triage.moments import Calendar, Moment, moment

NOON = 1_773_921_600_000  # 2026-03-19T12:00:00Z
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("2026-03-19T12:00:00Z", NOON),
        ("2026-03-19 12:00:00,250", NOON + 250),
        ("2026-03-19T13:00:00.5+01:00", NOON + 500),
        ("2026-03-19T12:00:00.123456789Z", NOON + 123),
        (NOON // 1000 + 0.25, NOON + 250),
        (NOON, NOON),
    ],
)
def test_time_is_read_to_the_millisecond(written: object, ms: int) -> None:
    """RFC 3339 with any fraction, with a comma or a zone; Unix seconds and milliseconds by their size."""
    read = moment(written)
    assert read is not None
    assert (read.ms, read.dated) == (ms, True)


@pytest.mark.parametrize(
    "written",
    ["", "soon", "25:00:00", "12:61:00", "2026-13-01T00:00:00Z", "10:10–10:20", None, True, 0, -5, 1e300, math.nan, []],
)  # fmt: skip
def test_what_is_no_time_is_none(written: object) -> None:
    """Nothing is guessed at."""
    assert moment(written) is None


def test_time_without_a_zone_is_taken_for_utc_and_says_so() -> None:
    """The account warns of it."""
    assert moment("2026-03-19T12:00:00") == Moment(NOON, zoned=False)


def test_time_of_day_after_a_dated_line_is_of_the_nearest_day() -> None:
    """Shortly after midnight it is the next day, shortly before it the day before."""
    calendar = Calendar()
    calendar.place(Moment(NOON + 11 * HOUR))
    assert calendar.place(Moment(1_000, dated=False)) == NOON + 12 * HOUR + 1_000
    assert calendar.place(Moment(23 * HOUR, dated=False)) == NOON + 11 * HOUR


def test_times_of_day_before_the_first_date_move_to_it() -> None:
    """They keep their distances, over midnight too, and `shift_ms` says how far they go."""
    calendar = Calendar()
    first = calendar.place(Moment(23 * HOUR, dated=False))
    second = calendar.place(Moment(HOUR, dated=False))
    assert second - first == 2 * HOUR
    calendar.place(Moment(NOON - 10 * HOUR))
    assert calendar.shift_ms is not None
    assert second + calendar.shift_ms == NOON - 11 * HOUR
    assert not calendar.provisional
