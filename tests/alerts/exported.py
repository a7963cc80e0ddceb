"""What Prometheus finds at a proxy and at a coordinator, from their registries; and what a query asks for."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import promql_parser
from msgspec import Struct
from prometheus_client import Counter, Gauge, Histogram

from coordinator.metrics import Metrics as CoordinatorMetrics
from proxy.metrics import Metrics as ProxyMetrics
from proxy.tally import Distributions, Tallies

TARGET = frozenset({"namespace", "job", "instance", "pod", "container"})
"""Labels that Prometheus gives to all that it scrapes."""


class Asked(Struct, frozen=True):
    """What a query asks a metric for: the labels that it selects by, and those that are left of it afterwards."""

    metric: str
    selected: frozenset[str]


@functools.cache
def exported() -> Mapping[str, frozenset[str]]:
    """Return each series' name with its labels, as a scrape of both processes would show them."""
    found: dict[str, frozenset[str]] = {}
    for registry in (ProxyMetrics(), CoordinatorMetrics()):
        for thing in vars(registry).values():
            if isinstance(thing, Tallies | Distributions):
                thing.child(*thing._labels)
            elif isinstance(thing, Counter | Gauge | Histogram):
                if thing._labelnames:
                    thing.labels(*thing._labelnames)
            else:
                continue
            for sample in next(iter(thing.collect())).samples:
                found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    """Return what a query selects. Raises ValueError for one that is none."""
    found: list[promql_parser.VectorSelector] = []
    promql_parser.walk(
        promql_parser.parse(query),
        lambda node: found.append(node) if isinstance(node, promql_parser.VectorSelector) else None,
    )
    return found


def groupings(query: str) -> Iterator[frozenset[str]]:
    """Yield the labels of each aggregation of a query."""
    found: list[promql_parser.AggregateExpr] = []
    promql_parser.walk(
        promql_parser.parse(query),
        lambda node: found.append(node) if isinstance(node, promql_parser.AggregateExpr) else None,
    )
    yield from (frozenset(one.modifier.labels) if one.modifier else frozenset() for one in found)


def wrong(query: str) -> list[str]:
    """Say what a query asks for and nobody exports: metrics, and labels that none of its metrics has."""
    complaints, known = [], set(TARGET)
    for selector in selectors(query):
        labels = exported().get(selector.name or "")
        if labels is None:
            complaints.append(f"nobody exports {selector.name}")
            continue
        known |= labels
        asked = {matcher.name for matcher in selector.matchers.matchers}
        complaints += [f"{selector.name} has no label {label}" for label in sorted(asked - labels - TARGET)]
    for labels in groupings(query):
        complaints += [f"no metric of it has a label {label}" for label in sorted(labels - known)]
    return complaints
