"""What a reference coordinator counts: enough for the seed's artifact 5, and to see what it does."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """One process's counters.

    submissions  attempts to hand in a step's outputs, by `result`: `accepted`, `refused`, `unclear`, `away`, and for
                 the hybrid one `dropped` (somebody else had handed in) and `unguarded` (Redis was away).
    matched      calls by `how` their result was found: `executed`, `tuple` (thread, run, call), `guess` (tool and
                 arguments).
    attempts, calls     requests to tools, and calls by their `outcome`.
    seen         runs that wait for outputs, by `how` they were noticed: `poll`, `webhook`, `told`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "reference"
        self.submissions = Counter(
            f"{prefix}_submission_attempts", "Attempts to hand in.", ["result"], registry=self.registry
        )
        self.matched = Counter(f"{prefix}_matched", "Results, by how they were found.", ["how"], registry=self.registry)
        self.attempts = Counter(f"{prefix}_tool_attempts", "Requests to tools.", registry=self.registry)
        self.calls = Counter(f"{prefix}_tool_calls", "Calls that came to an end.", ["outcome"], registry=self.registry)
        self.seen = Counter(f"{prefix}_seen", "Steps, by how they were noticed.", ["how"], registry=self.registry)
        self.turns = Counter(f"{prefix}_turns", "Turns that were asked for.", ["result"], registry=self.registry)
        self.lag = Gauge(f"{prefix}_event_loop_lag_seconds", "How late the loop ran.", registry=self.registry)
