"""When a run is looked at next: fast after something happened, slower while nothing does, and hardly at all while
notifications do the work. Values in, values out: times are loop seconds."""

from __future__ import annotations

FAST_S = 0.25
"""After a run was made, submitted to, or asks for something."""
SLOW_S = 1.0
"""Nothing new for a while: the most that a change waits to be seen without notifications."""
SWEEP_S = 5.0
"""With notifications that can be relied on: for those that are lost."""
GROWTH = 1.5
QUIET_MAX = 16
"""Looks in a row that are told apart: far beyond `SLOW_S`, and a power that a float can still hold."""

HEALTHY_S = 60.0
"""How long a notification speaks for the next ones."""
DOUBT_S = 30.0
"""How long one that did not come speaks against them."""
NOTICE_S = 1.0
"""How much later than the change itself a look may find it before a notification counts as lost."""

AWAY_BASE_S = 0.25
AWAY_MAX_S = 5.0
"""Between looks at an API that does not answer: doubled, and multiplied by a random share."""


class Notifications:
    """Whether the notifications of a backend can be relied on at the moment."""

    def __init__(self) -> None:
        self._came = float("-inf")
        self._missed = float("-inf")

    def came(self, now: float) -> None:
        """A notification was taken."""
        self._came = now

    def missed(self, now: float) -> None:
        """A look found a change that none had told of."""
        self._missed = now

    def healthy(self, now: float) -> bool:
        """Say whether polling may be left to the sweep."""
        return now - self._came < HEALTHY_S and now - self._missed > DOUBT_S


def pause_s(quiet: int, *, healthy: bool) -> float:
    """Return the pause before the next look, after `quiet` looks in a row that brought nothing new."""
    pause = min(FAST_S * GROWTH ** min(quiet, QUIET_MAX), SLOW_S)
    return SWEEP_S if healthy and pause >= SLOW_S else pause


def away_s(failures: int, share: float, wanted_ms: int | None = None) -> float:
    """Return the pause after `failures` failed looks in a row; `share` is random, from 0 to 1; an API that names a
    pause gets it, within the shortest and the longest of ours."""
    if wanted_ms is not None:
        return min(max(wanted_ms / 1_000, AWAY_BASE_S), AWAY_MAX_S)
    return min(AWAY_BASE_S * 2.0 ** min(failures, 10), AWAY_MAX_S) * (0.5 + share / 2)
