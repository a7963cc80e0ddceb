"""What is asked of the systems: the workloads, how long each is measured, and in which order. Pure."""

from __future__ import annotations

import itertools

from msgspec import Struct

from evaluation.bench.figures import Case
from evaluation.bench.systems import BARE, NAMES, REDIS, SQLITE, System

NEW, REPLAY, JOIN, READS, PACED = "new key", "replay", "join", "read", "paced"

RESTARTED = "replay, restarted"
"""A replay of what an earlier process executed: nothing but the store can know of it."""

CONCURRENCIES = (1, 16)
GUARDED = (SQLITE, REDIS)

JOIN_WIDTH = 2
"""A join is half of a pair: each key is asked for twice at the same time."""

JOIN_DELAY_US = 5_000
"""The tool's latency under joins: without one, the second of a pair would sometimes find the first already answered."""

PACED_DELAY_US = 20_000


class Effort(Struct, frozen=True):
    """How long is measured: rounds, seconds of a closed loop, seconds and rate a second of the open one.

    `restart_keys` are replayed after each of the restarts.
    """

    rounds: int
    closed_s: float
    open_s: float
    rate: float
    restart_keys: int


FULL = Effort(rounds=5, closed_s=1.2, open_s=3.0, rate=250.0, restart_keys=2000)
QUICK = Effort(rounds=3, closed_s=0.25, open_s=1.0, rate=250.0, restart_keys=500)


def plan(systems: tuple[System, ...], number: int) -> list[tuple[System, Case]]:
    """Return what round `number` measures, in its order: by workload, the systems in turns, another one first each
    time."""
    turn = number % len(systems)
    turned = systems[turn:] + systems[:turn]
    cases: list[tuple[System, Case]] = []
    for workload, concurrencies, names in (
        (NEW, CONCURRENCIES, NAMES),
        (REPLAY, CONCURRENCIES, GUARDED),
        (JOIN, CONCURRENCIES, GUARDED),
        (READS, (16,), (BARE, *GUARDED)),
        (PACED, (0,), NAMES),
    ):
        for concurrency, system in itertools.product(concurrencies, turned):
            if system.name in names:
                cases.append((system, Case(system.name, workload, concurrency)))
    return cases


def delay_us(workload: str) -> int:
    """Return how long the tool takes under `workload`."""
    return {JOIN: JOIN_DELAY_US, PACED: PACED_DELAY_US}.get(workload, 0)


def executions_due(workload: str, requests: int) -> int:
    """Return how often the tool must have been asked to act when `requests` were answered."""
    return {REPLAY: 0, RESTARTED: 0, READS: 0, JOIN: requests // JOIN_WIDTH}.get(workload, requests)
