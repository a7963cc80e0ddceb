"""From samples to figures: percentiles, medians over the rounds, and comparisons made within a round first.

Pure. A figure that was not measured is None, and stays None in whatever is made of it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from msgspec import Struct


class Case(Struct, frozen=True, order=True):
    """What was measured: a system under a workload, with so many keys in flight (0 for a fixed rate)."""

    system: str
    workload: str
    concurrency: int


class Sample(Struct, frozen=True):
    """One measurement of a case, in one round. Times are microseconds, CPU and store calls are per request.

    `server_cpu_us` is None where no server stands before the tool, `store_cpu_us` where the store has no process of its
    own, `store_calls` where there is no store. `busy` is the share of the time that the server was on its core,
    `foreign` the share that others were.
    """

    case: Case
    round: int
    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    server_cpu_us: float | None = None
    store_cpu_us: float | None = None
    busy: float | None = None
    foreign: float | None = None
    outcomes: dict[str, int] = {}
    store_calls: dict[str, float] | None = None


class Start(Struct, frozen=True):
    """How long Holdfast took from nothing to ready, and its resident memory then."""

    system: str
    seconds: float
    resident_bytes: int


class Spread(Struct, frozen=True):
    """The median over the rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float


Reading = Callable[[Sample], float | None]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of values in ascending order; `share` is above 0 and at most 1.

    Always one of the values: with few of them a high percentile is the highest, never an invention between two.
    """
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return the median and the extremes of what was measured; None where nothing was."""
    measured = [value for value in values if value is not None]
    if not measured:
        return None
    return Spread(statistics.median(measured), min(measured), max(measured))


def middle(found: Spread | None) -> float | None:
    """Return the median alone."""
    return None if found is None else found.median


class Figures:
    """The samples of a run, and what can be said from them."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = tuple(samples)
        self._by_case: dict[Case, dict[int, Sample]] = {}
        for sample in samples:
            self._by_case.setdefault(sample.case, {})[sample.round] = sample

    def cases(self) -> tuple[Case, ...]:
        """Return what was measured, in the order of its first measurement."""
        return tuple(self._by_case)

    def of(self, case: Case, read: Reading) -> Spread | None:
        """Return a reading's spread over the rounds."""
        return spread([read(sample) for sample in self._by_case.get(case, {}).values()])

    def ratio(self, case: Case, yardstick: str, read: Reading, *, workload: str | None = None) -> Spread | None:
        """Return a reading as a multiple of the yardstick's in the same round, under `workload` if that is another."""
        return self._compared(case, Case(yardstick, workload or case.workload, case.concurrency), read, _divided)

    def added(self, case: Case, yardstick: str, read: Reading) -> Spread | None:
        """Return how much a reading is above the yardstick's in the same round."""
        return self._compared(case, Case(yardstick, case.workload, case.concurrency), read, _subtracted)

    def store_calls(self, case: Case) -> float | None:
        """Return the store round trips per request, whatever their kind."""
        return middle(
            self.of(case, lambda sample: None if sample.store_calls is None else sum(sample.store_calls.values()))
        )

    def _compared(
        self, case: Case, other: Case, read: Reading, combine: Callable[[float, float], float | None]
    ) -> Spread | None:
        ours, theirs = self._by_case.get(case, {}), self._by_case.get(other, {})
        values: list[float | None] = []
        for number in sorted(ours.keys() & theirs.keys()):
            a, b = read(ours[number]), read(theirs[number])
            values.append(None if a is None or b is None else combine(a, b))
        return spread(values)


def _divided(a: float, b: float) -> float | None:
    return a / b if b else None


def _subtracted(a: float, b: float) -> float | None:
    return a - b
