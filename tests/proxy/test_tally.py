"""Counters and histograms of our own say what prometheus_client's would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from proxy.tally import Distributions, Tallies

UPPER = (0.001, 0.5, 1, 10)
NASTY = 'a "quoted"\\ name\nwith lines'


def scraped(registry: CollectorRegistry) -> list[str]:
    """Return what a scrape shows, without the moments of creation, which ours do not tell."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "_created" not in line)


@given(st.lists(st.tuples(st.sampled_from(["t", NASTY]), st.floats(0, 100) | st.sampled_from(UPPER)), max_size=20))
def test_histogram_is_scraped_as_prometheus_clients_own(values: list[tuple[str, float]]) -> None:
    """Bounds included in their buckets, buckets cumulated, sums and counts, labels escaped."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distributions = Distributions("x_seconds", "Help.", ["tool"], UPPER)
    ours.register(distributions)
    histogram = Histogram("x_seconds", "Help.", ["tool"], buckets=UPPER, registry=theirs)
    for tool, value in values:
        distributions.child(tool).observe(value)
        histogram.labels(tool).observe(value)
    assert scraped(ours) == scraped(theirs)


@given(st.lists(st.sampled_from([("t", "a"), ("t", "b"), (NASTY, "a")]), max_size=20))
def test_counter_is_scraped_as_prometheus_clients_own(values: list[tuple[str, str]]) -> None:
    """One count for each set of labels."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("x", "Help.", ["tool", "how"])
    ours.register(tallies)
    counter = Counter("x", "Help.", ["tool", "how"], registry=theirs)
    for labels in values:
        tallies.add(*labels)
        counter.labels(*labels).inc()
    assert scraped(ours) == scraped(theirs)


def test_child_is_the_same_one_each_time() -> None:
    """It may be kept."""
    tallies = Tallies("x", "Help.", ["tool"])
    tallies.child("t").count += 1
    assert tallies.child("t").count == 1
    assert tallies.child("u").count == 0
    distributions = Distributions("x", "Help.", ["tool"], UPPER)
    distributions.child("t").observe(0.5)
    assert distributions.child("t").total == pytest.approx(0.5)
