"""When a run is looked at next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.polling import (
    AWAY_BASE_S,
    AWAY_MAX_S,
    DOUBT_S,
    FAST_S,
    HEALTHY_S,
    SLOW_S,
    SWEEP_S,
    Notifications,
    away_s,
    pause_s,
)


def test_pause_is_fast_after_news_and_grows_to_the_slow_one() -> None:
    """250 ms at first, never less than the one before, and a second from the fourth quiet look on."""
    pauses = [pause_s(quiet, healthy=False) for quiet in range(8)]
    assert pauses[0] == FAST_S
    assert pauses == sorted(pauses)
    assert pauses[3] < SLOW_S
    assert set(pauses[4:]) == {SLOW_S}


def test_notifications_leave_only_the_sweep_but_not_at_once() -> None:
    """Right after news there are looks all the same: the next change is often near."""
    pauses = [pause_s(quiet, healthy=True) for quiet in range(8)]
    assert pauses[:4] == [pause_s(quiet, healthy=False) for quiet in range(4)]
    assert set(pauses[4:]) == {SWEEP_S}


@given(quiet=st.integers(0, 10**9), healthy=st.booleans())
def test_pause_has_bounds_however_long_nothing_happens(quiet: int, healthy: bool) -> None:
    """A run that is quiet for days is looked at as on the first."""
    assert FAST_S <= pause_s(quiet, healthy=healthy) <= SWEEP_S


@given(
    failures=st.integers(0, 10**9), share=st.floats(0, 1), wanted_ms=st.none() | st.integers(-1_000, 10**12),
)  # fmt: skip
def test_pause_of_an_api_that_is_away_has_bounds(failures: int, share: float, wanted_ms: int | None) -> None:
    """Whatever it wishes for, and however often it failed: neither at once nor hours later."""
    assert AWAY_BASE_S / 2 <= away_s(failures, share, wanted_ms) <= AWAY_MAX_S


@pytest.mark.parametrize(("wanted_ms", "pause"), [(0, 0.25), (100, 0.25), (2_000, 2.0), (60_000, 5.0)])
def test_api_that_names_a_pause_gets_it_within_ours(wanted_ms: int, pause: float) -> None:
    """`Retry-After: 0` is no leave to ask without a pause."""
    assert away_s(9, 0.0, wanted_ms) == pause


def test_pause_doubles_with_each_failure() -> None:
    """Up to the longest, each with a random share."""
    assert [away_s(failures, 1.0) for failures in range(6)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0]
    assert away_s(2, 0.0) == 0.5


def test_notifications_are_relied_on_while_they_come() -> None:
    """One speaks for a minute; none has spoken at first."""
    notifications = Notifications()
    assert not notifications.healthy(0.0)
    notifications.came(100.0)
    assert notifications.healthy(100.0 + HEALTHY_S - 0.001)
    assert not notifications.healthy(100.0 + HEALTHY_S)


def test_one_that_did_not_come_is_held_against_them() -> None:
    """For half a minute, whatever comes meanwhile."""
    notifications = Notifications()
    notifications.missed(100.0)
    notifications.came(100.0 + DOUBT_S)
    assert not notifications.healthy(100.0 + DOUBT_S)
    assert notifications.healthy(100.0 + DOUBT_S + 0.001)
