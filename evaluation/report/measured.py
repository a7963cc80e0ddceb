"""Figures from what was counted, with their intervals, at whatever confidence somebody asks for."""

from __future__ import annotations

import math
import statistics

from msgspec import Struct

from evaluation.replay.intervals import CONFIDENCE, Counts, Interval, difference, ratio
from evaluation.replay.quantiles import Quantiles
from evaluation.report.counting import Counted
from evaluation.report.figures import OTHERS, RATES, SCALES, SHARES, Figure, Unit

OURS = ("coordinator", "sidecar", "store")
"""The processes whose CPU a turn costs whoever runs the variant; tools, API and driver are the replay's own."""

EVERYWHERE = frozenset({"turns", "steps", "attempts", "submitted"})
"""What each conversation may have; of what is written only those have something in which something is written."""


class Calm(Struct, frozen=True):
    """The latency pair: the same turns without and with the proxy, while nothing goes wrong."""

    without: Quantiles
    through: Quantiles

    def added(self, confidence: float = CONFIDENCE) -> Interval:
        """Return by which share of it the proxy makes the median turn longer."""
        found = self.through.ratio(self.without, SHARES["p50"], confidence)
        return Interval(found.figure - 1, found.low - 1, found.high - 1, found.method)


class Measured:
    """One variant in one environment. `times` are those of its turns, `base` those of the variant without a proxy, and
    `calm` is the latency pair, which says something of variants that have a `proxy`."""

    def __init__(
        self,
        counted: Counted,
        *,
        times: Quantiles,
        seed: int,
        base: Quantiles | None = None,
        calm: Calm | None = None,
        proxy: bool = True,
    ) -> None:
        self.counted = counted
        self._times = times
        self._seed = seed
        self._base = base
        self._calm = calm
        self._proxy = proxy
        self._made: dict[tuple[str, float], Figure] = {}

    def figure(self, name: str, confidence: float = CONFIDENCE) -> Figure:
        """Return a figure by its name, with the interval of that confidence. Raises `KeyError` for an unknown name."""
        if (name, confidence) not in self._made:
            make = self._rate if name in RATES else self._other
            self._made[name, confidence] = make(name, confidence)
        return self._made[name, confidence]

    def difference(self, other: Measured, name: str, confidence: float = CONFIDENCE) -> Figure:
        """Return by how much a rate is above the other's, both of the same turns. Raises `KeyError` as `figure`."""
        unit = RATES[name].unit
        ours, theirs = (one._counts(name) for one in (self, other))  # noqa: SLF001  # another one of these
        if not all(any(of for _, of in counts.values()) for counts in (ours, theirs)):
            return Figure(None, unit)
        if unit == "%" and _full(ours) and _full(theirs):
            ours, theirs = _rest(theirs), _rest(ours)
        trials = self._trials(name)
        return scaled(difference(ours, theirs, seed=self._seed, confidence=confidence, trials=trials), unit)

    def _counts(self, name: str) -> dict[str, tuple[int, int]]:
        """Return a rate's counts, of all users of the trace, so that every figure has the same clusters."""
        hits, of = (self.counted.sums[part] for part in (RATES[name].hits, RATES[name].of))
        users = dict.fromkeys((*self.counted.share.users, *hits, *of))
        return {user: (hits[user], of[user]) for user in users}

    def _trials(self, name: str) -> int:
        """Return how many trials there were where nothing was seen, or nothing else: conversations, of those that could
        have shown it. What one user's have in common shows in what is seen, and there users are drawn."""
        share = self.counted.share
        return share.threads if RATES[name].of in EVERYWHERE else share.writing_threads

    def _rate(self, name: str, confidence: float) -> Figure:
        unit, counts = RATES[name].unit, self._counts(name)
        hits, of = (sum(part) for part in zip(*counts.values(), strict=True)) if counts else (0, 0)
        if not of:
            return Figure(None, unit, hits=hits, of=of)
        full = unit == "%" and hits == of
        found = ratio(
            _rest(counts) if full else counts, seed=self._seed, confidence=confidence, trials=self._trials(name)
        )
        if full:
            found = Interval(1.0, 1 - found.high, 1.0, found.method)
        return scaled(found, unit, hits, of)

    def _other(self, name: str, confidence: float) -> Figure:
        unit = OTHERS[name][0]
        times, usage = self.counted.executions.times, self.counted.usage
        turns = sum(self.counted.share.own.values())
        match name:
            case "repeated_keys":
                return _counted(self.counted.executions.repeated, unit)
            case "repeated_keys_moved":
                return _counted(self.counted.executions.moved, unit)
            case "executions_of_one_key":
                return _counted(max(times, default=0), unit)
            case "unkeyed":
                return _counted(self.counted.executions.unkeyed, unit)
            case "steps_median":
                return _counted(_median_of(self.counted.steps), unit)
            case "inter_arrival":
                return _counted(self.counted.clusters.inter_arrival_s, unit)
            case "coordinator_busy":
                busy = usage.cpu_s.get("coordinator")
                return _counted(busy and busy / usage.seconds * 100, unit)
            case "cpu":
                cpu_s = [usage.cpu_s[kind] for kind in OURS if kind in usage.cpu_s]
                return _counted(sum(cpu_s) / turns * 1000 if cpu_s and turns else None, unit)
            case "store_ops":
                return _counted(usage.store_ops / turns if turns else None, unit)
            case "added_median":
                return self._added(unit, confidence)
            case _:
                return self._quantile(name, unit, confidence)

    def _added(self, unit: Unit, confidence: float) -> Figure:
        """Return what the proxy adds; where there is no proxy, that is nothing."""
        if not self._proxy:
            return _counted(0, unit)
        return scaled(self._calm.added(confidence), unit) if self._calm else Figure(None, unit)

    def _quantile(self, name: str, unit: Unit, confidence: float) -> Figure:
        share = SHARES[name.removesuffix("_ratio")]
        try:
            if not name.endswith("_ratio"):
                return scaled(self._times.interval(share, confidence), unit)
            if self._base is None:
                return Figure(None, unit)
            return scaled(self._times.ratio(self._base, share, confidence), unit)
        except ValueError:
            return Figure(None, unit)


def _full(counts: Counts) -> bool:
    return all(hits == of for hits, of in counts.values())


def _rest(counts: Counts) -> dict[str, tuple[int, int]]:
    return {user: (of - hits, of) for user, (hits, of) in counts.items()}


def scaled(found: Interval, unit: Unit, hits: int | None = None, of: int | None = None) -> Figure:
    """Return an interval as a figure in its unit."""
    scale = SCALES.get(unit, 1)
    value, low, high = (_finite(part * scale) for part in (found.figure, found.low, found.high))
    return Figure(value, unit, low, high, found.method, hits, of)


def _finite(number: float) -> float | None:
    """Return a number as JSON has it: a quantile that falls on turns that never ended is not known."""
    return number if math.isfinite(number) else None


def _counted(value: float | None, unit: Unit) -> Figure:
    return Figure(value, unit, method="" if value is None else "counted")


def _median_of(times: dict[int, int]) -> float | None:
    return (
        statistics.median(times_of) if (times_of := [n for n, turns in times.items() for _ in range(turns)]) else None
    )
