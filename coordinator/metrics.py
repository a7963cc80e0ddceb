"""What a coordinator counts (contract, section 7): base units, and no id as a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

STALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0)
"""Around the objective of 5 s for a step, and up to the life of a run."""
SHORT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """One registry per process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"holdfast_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"holdfast_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"holdfast_{name}", text, buckets=buckets, registry=registry)

        self.requires_action = histogram(
            "requires_action_seconds", "From when a step was first seen to when its outputs were taken.", STALL_BUCKETS
        )
        self.dispatch = histogram(
            "dispatch_seconds", "From the look or notification that showed a step to its first call.", SHORT_BUCKETS
        )
        self.submit_lag = histogram(
            "submit_lag_seconds", "From a step's last result to the attempt to submit them.", SHORT_BUCKETS
        )
        self.runs = gauge("runs", "Runs in the store, by status; store-wide, aggregate with max.", "status")
        self.kept = gauge("runs_kept", "Runs that this process keeps.")
        self.submissions = counter("submission_attempts", "Attempts to submit outputs, by their end.", "result")
        self.calls = counter("tool_calls", "Tool calls asked of the proxy, by what became of them.", "verdict")
        self.longest_wait = gauge(
            "requires_action_oldest_seconds", "For how long the step that has waited longest here has waited."
        )
        self.queue_depth = gauge("submission_queue_depth", "Posted results that wait; store-wide.")
        self.queue_limit = gauge("submission_queue_limit", "Posted results that may wait.")
        self.posted = counter("tool_outputs", "Results posted back, by what they were taken for.", "result")
        self.dead_letters = counter("dead_letters", "Accepted results that could not be used.", "reason")
        self.polls = counter("poll", "Looks at runs, by their reason.", "kind")
        self.webhooks = counter("webhooks", "Notifications, by what they were taken for.", "result")
        self.turns = counter("turns", "Turns asked for, by what became of them.", "result")
        self.spans_dropped = counter("spans_dropped", "Spans that the collector did not get.", "why")
        self.store_operations = counter("coordinator_store_operations", "Round trips to the store.")
        self.store_up = gauge("store_up", "Whether the store answered last time.")
        self.loop_lag = gauge("event_loop_lag_seconds", "How late the event loop was last.")
        self._operations = 0

    def store_asked(self, operations: int) -> None:
        """Take over a store's own count of its round trips."""
        self.store_operations.inc(operations - self._operations)
        self._operations = operations
