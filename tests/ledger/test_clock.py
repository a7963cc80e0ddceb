"""The clock of one-process stores: the wall's time once, the monotonic clock's pace from then on."""

from __future__ import annotations

import time

import pytest

from ledger.stores.clock import steady_clock

SECOND_NS = 1_000_000_000


def test_steady_clock_starts_at_the_wall() -> None:
    """Its first answer is the wall's time in milliseconds."""
    now_ms = steady_clock(lambda: 1_700_000_000_123_999_999, lambda: 55 * SECOND_NS)
    assert now_ms() == 1_700_000_000_123


@pytest.mark.fault(48)
def test_steady_clock_ignores_the_walls_jumps() -> None:
    """However the wall is set, only what passed counts."""
    wall, steady = 1_700_000_000 * SECOND_NS, 55 * SECOND_NS
    now_ms = steady_clock(lambda: wall, lambda: steady)
    wall -= 3_600 * SECOND_NS
    steady += 2 * SECOND_NS
    assert now_ms() == 1_700_000_002_000
    wall += 7_200 * SECOND_NS
    assert now_ms() == 1_700_000_002_000


def test_steady_clock_of_the_machine_is_about_now() -> None:
    """Without arguments it reads the machine's clocks."""
    assert abs(steady_clock()() - time.time_ns() // 1_000_000) < 5_000
