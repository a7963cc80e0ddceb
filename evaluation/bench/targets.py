"""What the figures have to reach, and whether they do. Pure.

Each target is a bound on one measured number. One that was not measured is neither met nor missed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from msgspec import Struct

from evaluation.bench.figures import Case, Figures, Sample, Start, middle
from evaluation.bench.systems import BARE, DIRECT
from evaluation.bench.workloads import GUARDED, NEW, PACED, READS, REPLAY, RESTARTED

MIB = 1 << 20
ROUNDING = 0.05
"""Store calls per request are counted over whole cases, at whose edges a call may fall outside."""


class Target(Struct, frozen=True):
    """A bound and what was measured against it, in `unit`."""

    name: str
    measured: float | None
    at_most: float
    unit: str = ""

    @property
    def verdict(self) -> str:
        """Return `met`, `missed` or `not measured`."""
        if self.measured is None:
            return "not measured"
        return "met" if self.measured <= self.at_most else "missed"


def targets(figures: Figures, starts: Sequence[Start]) -> tuple[Target, ...]:
    """Put the figures to their targets."""
    found: list[Target] = []
    for store in GUARDED:
        found += _costs(figures, store)
    for store in GUARDED:
        found += _latencies(figures, store)
    for store in GUARDED:
        found += _round_trips(figures, store)
    for store in GUARDED:
        mine = [start for start in starts if start.system == store]
        found.append(Target(f"cold start to ready, {store}", _median(s.seconds for s in mine), 1.0, "s"))
        found.append(Target(f"resident when idle, {store}", _median(s.resident_bytes / MIB for s in mine), 70.0, "MiB"))
    return tuple(found)


def _costs(figures: Figures, store: str) -> list[Target]:
    new = figures.ratio(Case(store, NEW, 16), BARE, server_cpu)
    replay = figures.ratio(Case(store, REPLAY, 16), BARE, server_cpu, workload=NEW)
    restarted = figures.ratio(Case(store, RESTARTED, 16), BARE, server_cpu, workload=NEW)
    return [
        Target(f"CPU per new key at 16, {store} : bare aiohttp", middle(new), 0.8),
        Target(f"CPU per replay at 16, {store} : bare aiohttp", middle(replay), 0.4),
        Target(f"CPU per replay from the store at 16, {store} : bare aiohttp", middle(restarted), 0.4),
    ]


def _latencies(figures: Figures, store: str) -> list[Target]:
    ours = figures.added(Case(store, NEW, 1), DIRECT, p50)
    bare = figures.added(Case(BARE, NEW, 1), DIRECT, p50)
    ratio = ours.median / bare.median if ours and bare and bare.median else None
    paced_us = middle(figures.added(Case(store, PACED, 0), DIRECT, p50))
    paced_ms = None if paced_us is None else paced_us / 1000
    return [
        Target(f"added p50 of a new key at 1, {store} : bare aiohttp", ratio, 1.0),
        Target(f"added p50 with a tool of 20 ms, {store}", paced_ms, 2.0, "ms"),
    ]


def _round_trips(figures: Figures, store: str) -> list[Target]:
    restarted = figures.store_calls(Case(store, RESTARTED, 16))
    return [
        Target(f"store round trips per new key, {store}", figures.store_calls(Case(store, NEW, 16)), 2 + ROUNDING),
        Target(f"store round trips per replay, {store}", figures.store_calls(Case(store, REPLAY, 16)), 1 + ROUNDING),
        Target(f"store round trips per replay from the store, {store}", restarted, 1 + ROUNDING),
        Target(f"store round trips per read, {store}", figures.store_calls(Case(store, READS, 16)), 0.0),
    ]


def server_cpu(sample: Sample) -> float | None:
    """Read the server's CPU time per request, in microseconds."""
    return sample.server_cpu_us


def p50(sample: Sample) -> float:
    """Read the median latency, in microseconds."""
    return sample.p50_us


def p99(sample: Sample) -> float:
    """Read the 99th percentile of the latency, in microseconds."""
    return sample.p99_us


def _median(values: Iterable[float]) -> float | None:
    measured = list(values)
    return statistics.median(measured) if measured else None
