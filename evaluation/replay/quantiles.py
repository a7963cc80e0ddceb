"""How sure a quantile is: latencies of turns, which hang together by user as everything else does.

The users are drawn anew and the quantile is read off what they have, as `intervals` does for ratios. Of two variants
that replay the same turns the same users are drawn, so that the ratio of their quantiles has an interval of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, islice

from evaluation.replay.intervals import CONFIDENCE, Interval, middle, picks

RESAMPLES = 400
"""A resample goes through all turns: 400 of 50,000 turns take 2 s of processor time."""

Timed = Sequence[tuple[float, int]]
"""Of each turn its time in seconds, infinite where it never ended, and its cluster, counted from 0."""


class Quantiles:
    """The quantiles of one variant's times, and of each resample of its clusters. `clusters` is how many there are in
    the trace, whether they have a time here or not: two variants are drawn alike if it is the same."""

    def __init__(
        self, timed: Timed, shares: Sequence[float], *, clusters: int, seed: int, resamples: int = RESAMPLES
    ) -> None:
        ordered = sorted(timed)
        self._times = [time for time, _ in ordered]
        self._owners = [owner for _, owner in ordered]
        self._figures = dict(zip(shares, self._read(list(range(1, len(ordered) + 1)), shares), strict=True))
        self._drawn: dict[float, list[float]] = {share: [] for share in shares}
        for picked in islice(picks(seed, clusters), resamples if ordered else 0):
            weights = [0] * clusters
            for cluster in picked:
                weights[cluster] += 1
            reached = list(accumulate(map(weights.__getitem__, self._owners)))
            for share, found in zip(shares, self._read(reached, shares), strict=True):
                self._drawn[share].append(found)

    def interval(self, share: float, confidence: float = CONFIDENCE) -> Interval:
        """Return a quantile with its interval. Raises `ValueError` where there are no times."""
        if not self._times:
            raise ValueError("there are no times")
        drawn = [one for one in self._drawn[share] if not math.isnan(one)]
        return Interval(self._figures[share], *middle(drawn, confidence), "cluster bootstrap")

    def ratio(self, other: Quantiles, share: float, confidence: float = CONFIDENCE) -> Interval:
        """Return by how much a quantile is that of another's, with its interval. Raises `ValueError` where one of them
        has no times, or none that ended."""
        figures = self._figures.get(share, math.nan), other._figures.get(share, math.nan)
        if not all(math.isfinite(one) and one > 0 for one in figures):
            raise ValueError("there is nothing to divide by")
        drawn = [_quotient(*pair) for pair in zip(self._drawn[share], other._drawn[share], strict=True)]
        drawn = [one for one in drawn if not math.isnan(one)]
        return Interval(figures[0] / figures[1], *middle(drawn, confidence), "paired cluster bootstrap")

    def _read(self, reached: Sequence[int], shares: Sequence[float]) -> list[float]:
        """Return the quantiles where so many turns are reached with each time: the smallest time that enough turns are
        no longer than; not a number where no turn is reached at all."""
        if not reached or not reached[-1]:
            return [math.nan] * len(shares)
        return [self._times[bisect_left(reached, share * reached[-1])] for share in shares]


def _quotient(ours: float, theirs: float) -> float:
    if math.isinf(theirs):
        return 1.0 if math.isinf(ours) else 0.0
    return ours / theirs
