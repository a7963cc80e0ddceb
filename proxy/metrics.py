"""Every metric that the proxy exports, by name (contract, section 7), with its labels' children looked up once.

Base units, no ids as labels. A registry of its own keeps one process's proxies apart in tests.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.tally import Distribution, Distributions, Tallies, Tally

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
FINE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
UNGUARDED = ("store-down", "memory-lost")
"""Why a write that should have been claimed was not, where its policy goes on without the store."""


class Metrics:
    """The proxy's metrics. Children are cached per label set: `labels()` costs more than the increment."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        r = self.registry
        self.requests = Tallies("holdfast_requests", "Requests answered.", ["tool", "outcome"])
        self.request_duration = Distributions(
            "holdfast_request_duration_seconds", "From the request's head to the answer's last byte.",
            ["tool", "outcome"], SECONDS,
        )  # fmt: skip
        self.overhead = Distributions(
            "holdfast_overhead_seconds",
            "Time in Holdfast of forwarded calls, without the tool's.",
            ["tool"],
            FINE_SECONDS,
        )
        self.upstream_attempts = Tallies(
            "holdfast_upstream_attempts", "Forwards, by how they ended.", ["tool", "result"]
        )
        self.upstream_duration = Distributions(
            "holdfast_upstream_duration_seconds", "From dialling or writing to the reply's end.", ["tool"], SECONDS
        )
        self.duplicates_prevented = Tallies(
            "holdfast_duplicates_prevented", "Attempts answered without a forward of their own.", ["tool", "how"]
        )
        self.observed = Tallies(
            "holdfast_observed", "Requests in observe mode, by what enforcement would have done.", ["tool", "would"]
        )
        self.store_duration = Distributions(
            "holdfast_store_duration_seconds", "Round trips to the store.", ["op"], FINE_SECONDS
        )
        for collector in (
            self.requests, self.request_duration, self.overhead, self.upstream_attempts, self.upstream_duration,
            self.duplicates_prevented, self.observed, self.store_duration,
        ):  # fmt: skip
            r.register(collector)
        self._count_late(r)
        self._gauge(r)
        self._store_up = False
        self._answers: dict[tuple[str, str], tuple[Tally, Distribution]] = {}
        self._forwards: dict[str, tuple[Distribution, Distribution]] = {}

    def _count_late(self, r: CollectorRegistry) -> None:
        self.late_results = Counter(
            "holdfast_late_results", "Results that came after their first caller had gone.", ["tool"], registry=r
        )
        self.caller_gone = Counter(
            "holdfast_caller_gone", "First callers that hung up or ran out of patience.", ["tool"], registry=r
        )
        self.late_conflicts = Counter(
            "holdfast_late_conflicts", "Late replies that contradict what stands.", ["tool"], registry=r
        )
        self.claims_lost = Counter(
            "holdfast_claims_lost", "Settlements that found their claim gone from the store.", ["tool"], registry=r
        )
        self.rulings = Counter(
            "holdfast_rulings", "Unknown outcomes that an operator ended.", ["tool", "outcome"], registry=r
        )
        self.lapsed = Counter("holdfast_lapsed_leases", "Leases found lapsed.", ["tool"], registry=r)
        self.probes = Counter(
            "holdfast_probes", "Probes of unknown outcomes, by what they found.", ["tool", "result"], registry=r
        )
        self.resends = Counter("holdfast_resends", "Unknown calls sent again with their key.", ["tool"], registry=r)
        self.settlements_given_up = Counter(
            "holdfast_settlements_given_up", "Results that never reached the store.", ["why"], registry=r
        )
        self.store_errors = Counter("holdfast_store_errors", "Round trips that failed.", ["op"], registry=r)
        self.unprotected = Counter(
            "holdfast_unprotected", "Writes forwarded without a claim.", ["tool", "why"], registry=r
        )
        self.policy_reloads = Counter(
            "holdfast_policy_reloads", "Changes of the policy folder.", ["result"], registry=r
        )

        self.spans_dropped = Counter(
            "holdfast_spans_dropped", "Spans that the collector did not get.", ["why"], registry=r
        )
        self.effect_duplicates = Counter(
            "holdfast_effect_duplicates", "Calls that met another's effect, by what the policy made of them.",
            ["tool", "action"], registry=r,
        )  # fmt: skip

    def _gauge(self, r: CollectorRegistry) -> None:
        self.unknown_operations = Gauge(
            "holdfast_unknown_operations", "Operations of unknown outcome in the store (aggregate with max).", ["tool"],
            registry=r,
        )  # fmt: skip
        self.unknown_oldest_age = Gauge(
            "holdfast_unknown_oldest_age_seconds", "Age of the oldest unknown outcome (aggregate with max).", registry=r
        )
        self.store_up = Gauge("holdfast_store_up", "Whether the store answered when it was last asked.", registry=r)
        self.store_memory_lost = Gauge(
            "holdfast_store_memory_lost", "Whether writes are refused since the store lost memory.", registry=r
        )
        self.pending_bytes = Gauge(
            "holdfast_pending_settlement_bytes", "Results kept in memory until the store is back.", registry=r
        )
        self.policy_generation = Gauge("holdfast_policy_generation", "Number of the policy set in force.", registry=r)
        self.policy_rejected = Gauge(
            "holdfast_policy_rejected", "Whether the policy folder holds a set that was rejected.", registry=r
        )
        self.loop_lag = Gauge(
            "holdfast_event_loop_lag_seconds", "How late the event loop ran its last tick.", registry=r
        )

    def expect(self, tools: Iterable[str]) -> None:
        """Show zero for what must be noticed the first time that it happens: of a counter that begins with one,
        Prometheus sees no increase."""
        for tool in tools:
            for counter in (self.late_results, self.caller_gone, self.late_conflicts, self.claims_lost, self.lapsed):
                counter.labels(tool)
            for why in UNGUARDED:
                self.unprotected.labels(tool, why)
            self.duplicates_prevented.child(tool, "key-reused")
        for result in ("accepted", "rejected"):
            self.policy_reloads.labels(result)

    def answered(self, tool: str, outcome: str, seconds: float) -> None:
        """Count one answered request."""
        pair = self._answers.get((tool, outcome))
        if pair is None:
            pair = self.requests.child(tool, outcome), self.request_duration.child(tool, outcome)
            self._answers[tool, outcome] = pair
        pair[0].count += 1
        pair[1].observe(seconds)

    def forwarded(self, tool: str, upstream_s: float, overhead_s: float | None) -> None:
        """Note how long a forward took, and what Holdfast added to it."""
        pair = self._forwards.get(tool)
        if pair is None:
            pair = self._forwards[tool] = self.upstream_duration.child(tool), self.overhead.child(tool)
        pair[0].observe(upstream_s)
        if overhead_s is not None:
            pair[1].observe(overhead_s)

    def store_answered(self) -> None:
        """The store is there."""
        if not self._store_up:
            self._store_up = True
            self.store_up.set(1)

    def store_failed(self, op: str) -> None:
        """A round trip to the store failed."""
        self._store_up = False
        self.store_up.set(0)
        self.store_errors.labels(op).inc()
