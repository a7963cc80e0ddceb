"""Times as people read them."""

from __future__ import annotations

import pytest

from cli.times import age, moment


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0s"), (59, "59s"), (200, "3m 20s"), (18_120, "5h 2m"), (1_047_600, "12d 3h"), (None, "")],
)
def test_age_has_two_units(seconds: int | None, told: str) -> None:
    """Nobody needs the seconds of a day-old call."""
    assert age(seconds) == told


def test_moment_is_readable_and_still_says_its_zone() -> None:
    """The same text but for the letter in its middle."""
    assert moment("2026-11-24T16:03:11.042Z") == "2026-11-24 16:03:11.042Z"
