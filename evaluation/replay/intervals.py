"""How sure a figure is: intervals for rates and ratios, and for how much two variants differ.

What one user does hangs together (a click too many, a slow tool, a bad minute), so turns are not so many independent
trials. Where that matters the users are drawn anew, not the turns: the cluster bootstrap (Davison and Hinkley 1997,
section 3.8; Cameron, Gelbach and Miller 2008), with percentile intervals.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from random import Random
from statistics import NormalDist
from typing import TypeAlias

from msgspec import Struct

CONFIDENCE = 0.95
RESAMPLES = 1_000
"""With so many the ends of a 95 % interval are the 25th and 975th: more move them by less than they are worth."""

LISTED_MAX = 4_096
"""Up to so many clusters, resamples are kept as lists, which are quicker to sum over than arrays, and larger."""

Counts: TypeAlias = Mapping[str, tuple[int, int]]
"""Of each cluster, by its name: how many there were, and of how many."""


class Interval(Struct, frozen=True):
    """A figure and the bounds between which it is taken to be; `method` says how they were found."""

    figure: float
    low: float
    high: float
    method: str


def wilson(hits: int, of: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a rate from independent trials (Wilson 1927), without continuity correction.

    Without trials nothing is known: from 0 to 1. Raises `ValueError` for counts that cannot be.
    """
    if not 0 <= hits <= of:
        raise ValueError(f"{hits} of {of} is no rate")
    z = _z(confidence)
    if of == 0:
        return Interval(math.nan, 0.0, 1.0, "none")
    rate = hits / of
    middle = (rate + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(rate * (1 - rate) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    low = 0.0 if hits == 0 else max(middle - half, 0.0)
    return Interval(rate, low, 1.0 if hits == of else min(middle + half, 1.0), "Wilson")


def ratio(
    counts: Counts,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    trials: int | None = None,
) -> Interval:
    """Return the interval of a ratio of two sums over clusters: duplicates to intended effects, stalled to all steps.

    Where nothing was seen at all, resampling sees nothing either and would be certain of it: there the upper bound is
    Wilson's for so many `trials`, or for as many as there are clusters with any, as if what one cluster does were one
    trial. Raises `ValueError` where there is nothing to divide by.
    """
    hits, of = _totals(counts)
    if of == 0:
        raise ValueError("there is nothing to divide by")
    if hits == 0:
        return Interval(0.0, 0.0, _unseen(counts, confidence, trials), _wilson_over(trials))
    names = sorted(counts)
    (drawn,) = _resampled([[counts[name] for name in names]], seed, resamples)
    return Interval(hits / of, *middle(drawn, confidence), "cluster bootstrap")


def difference(
    one: Counts,
    other: Counts,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    trials: int | None = None,
) -> Interval:
    """Return the interval of how much the ratio of `one` is above that of `other`.

    Both are of the same clusters, which each resample draws together: variants replay the same turns, and what is hard
    on one is hard on the other. A cluster that one of them has no counts of counts as (0, 0) there. Where neither has
    seen anything the bounds are those of one without the other. Raises `ValueError` as `ratio` does.
    """
    names = sorted(one.keys() | other.keys())
    totals = (_totals(one), _totals(other))
    if not all(of for _, of in totals):
        raise ValueError("there is nothing to divide by")
    figure = totals[0][0] / totals[0][1] - totals[1][0] / totals[1][1]
    if not any(hits for hits, _ in totals):
        bounds = [_unseen(counts, confidence, trials) for counts in (one, other)]
        return Interval(0.0, -bounds[1], bounds[0], _wilson_over(trials))
    columns = [[counts.get(name, (0, 0)) for name in names] for counts in (one, other)]
    ours, theirs = _resampled(columns, seed, resamples)
    drawn = [a - b for a, b in zip(ours, theirs, strict=True)]
    return Interval(figure, *middle(drawn, confidence), "paired cluster bootstrap")


def _totals(counts: Counts) -> tuple[int, int]:
    return sum(hits for hits, _ in counts.values()), sum(of for _, of in counts.values())


def _unseen(counts: Counts, confidence: float, trials: int | None) -> float:
    """Return how high a ratio may be of which nothing was seen; a cluster where nothing could be is no trial."""
    return wilson(0, sum(of > 0 for _, of in counts.values()) if trials is None else trials, confidence).high


def _wilson_over(trials: int | None) -> str:
    return "Wilson over clusters" if trials is None else f"Wilson over {trials} trials"


def _resampled(columns: Sequence[Sequence[tuple[int, int]]], seed: int, resamples: int) -> list[list[float]]:
    """Return each column's ratio in each resample of the rows; a resample in which one has nothing is drawn again."""
    parts = [([hits for hits, _ in column], [of for _, of in column]) for column in columns]
    drawn: list[list[float]] = [[] for _ in columns]
    for picked in picks(seed, len(columns[0])):
        sums = [(sum(map(hits.__getitem__, picked)), sum(map(of.__getitem__, picked))) for hits, of in parts]
        if all(of for _, of in sums):
            for ratios, (hits, of) in zip(drawn, sums, strict=True):
                ratios.append(hits / of)
        if len(drawn[0]) == resamples:
            break
    return drawn


def picks(seed: int, rows: int) -> Iterator[Sequence[int]]:
    """Yield, without an end, as many of so many rows, drawn with replacement: always the same ones for the same seed.

    They are kept, for as many figures as there are of the same clusters: drawing takes longer than summing.
    """
    kept = _kept_picks(seed, rows)
    for number in count():
        yield kept(number)


class _Picks:
    """The picks of one seed, made when they are first asked for."""

    def __init__(self, seed: int, rows: int) -> None:
        self._chances = Random(seed)  # noqa: S311 -- no secret
        self._rows = list(range(rows))
        self._made: list[Sequence[int]] = []

    def __call__(self, number: int) -> Sequence[int]:
        """Return the picks of a resample, by its number."""
        while len(self._made) <= number:
            picked = self._chances.choices(self._rows, k=len(self._rows))
            self._made.append(picked if len(self._rows) <= LISTED_MAX else array("I", picked))
        return self._made[number]


@lru_cache(maxsize=2)
def _kept_picks(seed: int, rows: int) -> _Picks:
    """Return the picks of a seed: two at once, which of 20,500 threads take 160 MB and of 1,000 users 16."""
    return _Picks(seed, rows)


def middle(drawn: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return the bounds of the middle part of what was drawn, outwards to the next value."""
    ordered = sorted(drawn)
    outside = math.floor((1 - confidence) / 2 * len(ordered))
    return ordered[outside], ordered[len(ordered) - 1 - outside]


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence:g}: write a number between 0 and 1")
    return NormalDist().inv_cdf((1 + confidence) / 2)
