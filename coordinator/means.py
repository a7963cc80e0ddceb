"""What all work of one coordinator shares: ports, clocks, limits, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct, field

from coordinator.backend import Backend
from coordinator.facts import Facts
from coordinator.metrics import Metrics
from coordinator.polling import Notifications
from coordinator.store import RunStore
from coordinator.tools import Tools
from ledger.store import StoreUnavailable
from policies.model import DAY_MS, SECOND_MS
from process.log import Log
from process.tracing import Tracing

AWAY_MS = 10 * SECOND_MS
"""From one line about a store that does not answer to the next: many runs meet it, each several times a second."""


class Limits(Struct, frozen=True):
    """Bounds and times of one process, each with its reason.

    visibility_ms   how long a dead replica's runs wait for another one; renewed each third.
    margin_ms       before a run expires, so that there is time to hand in an error (contract, section 6).
    taken_ms        for the calls of a run that is taken, whatever their deadlines: while it waited for that, the proxy
                    may well have got the results.
    flush_ms        how long what a crash would find out again may wait to be written down.
    late_ms         how long results that come too late for their run are still waited for.
    remember_ms     how long a run is kept after its end: `runs show`, and duplicates of posted results.
    runs_max        runs that one process keeps at a time; the others wait in the due-queue.
    calls_max       tool calls under way at a time.
    late_max        calls whose time is over that are still waited for, for their late truth.
    looks_max       requests to the API under way at a time.
    queue_max       posted results that wait.
    """

    visibility_ms: int = 15 * SECOND_MS
    margin_ms: int = 15 * SECOND_MS
    taken_ms: int = 5 * SECOND_MS
    flush_ms: int = 1 * SECOND_MS
    late_ms: int = 600 * SECOND_MS
    remember_ms: int = DAY_MS
    runs_max: int = 2_000
    calls_max: int = 256
    late_max: int = 256
    looks_max: int = 64
    queue_max: int = 10_000


class Means(Struct):
    """Everything at hand. `now_ms` is the wall clock, `version` and `share` are chance, passed in.

    elsewhere  tools that a gateway executes: their results are posted back, and the proxy is not asked.
    tracing    where spans are begun; None where nothing is traced.
    """

    store: RunStore
    backend: Backend
    tools: Tools
    facts: Facts
    metrics: Metrics
    log: Log
    owner: str
    now_ms: Callable[[], int]
    version: Callable[[], str]
    share: Callable[[], float]
    limits: Limits = Limits()
    elsewhere: frozenset[str] = frozenset()
    tracing: Tracing | None = None
    notifications: Notifications = field(default_factory=Notifications)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(Limits().calls_max))
    late: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(Limits().late_max))
    away_told_ms: int = 0
    away_times: int = 0

    def store_is_away(self, error: StoreUnavailable) -> None:
        """Say that the store does not answer, for all who meet it within `AWAY_MS`; `times` says how often they did."""
        self.away_times += 1
        now_ms = self.now_ms()
        if not 0 <= now_ms - self.away_told_ms < AWAY_MS:
            self.log.event("store.unavailable", level="error", detail=str(error), times=self.away_times)
            self.away_told_ms, self.away_times = now_ms, 0

    def is_elsewhere(self, tool: str) -> bool:
        """Say whether a gateway executes `tool`: `*` stands for all of them."""
        return tool in self.elsewhere or "*" in self.elsewhere
