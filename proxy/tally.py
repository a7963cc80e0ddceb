"""Counters and histograms for the hot path: plain integers, handed to Prometheus when it asks.

prometheus_client's own take a lock per increment, several per observation, and were a seventh of a new call's cost. The
event loop's thread is the only writer here, so none is needed; a scrape on the same loop sees whole values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Distribution:
    """One histogram child: `observe` seconds. `upper` are the buckets' bounds, ascending, without infinity."""

    __slots__ = ("counts", "total", "upper")

    def __init__(self, upper: Sequence[float]) -> None:
        self.upper = upper
        self.counts = [0] * (len(upper) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.upper, value)] += 1
        self.total += value


class Tally:
    """One counter child."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Distributions(Collector):
    """A histogram with labels. `child` is cheap to call and cheaper to keep."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str], upper: Sequence[float]) -> None:
        self._name, self._help, self._labels, self._upper = name, help_text, labels, upper
        self._children: dict[tuple[str, ...], Distribution] = {}

    def child(self, *values: str) -> Distribution:
        """Return the histogram of one set of label values."""
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = Distribution(self._upper)
        return found

    def collect(self) -> Iterator[Metric]:
        """Yield the metric in Prometheus' form, buckets cumulated."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for values, child in self._children.items():
            running, buckets = 0, []
            for bound, count in zip((*map(floatToGoString, self._upper), "+Inf"), child.counts, strict=True):
                running += count
                buckets.append((bound, float(running)))
            family.add_metric(values, buckets, child.total)
        yield family


class Tallies(Collector):
    """A counter with labels."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str]) -> None:
        self._name, self._help, self._labels = name, help_text, labels
        self._children: dict[tuple[str, ...], Tally] = {}

    def child(self, *values: str) -> Tally:
        """Return the counter of one set of label values."""
        found = self._children.get(values)
        if found is None:
            found = self._children[values] = Tally()
        return found

    def add(self, *values: str) -> None:
        """Count one."""
        self.child(*values).count += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the metric in Prometheus' form."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, child in self._children.items():
            family.add_metric(values, float(child.count))
        yield family
