"""The figures of a replay, by name: what each is, of what it is made, and how sure it is.

Names are stable: gates and whoever reads `report.json` rely on them. A figure that nothing was measured of is None.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

Unit = Literal["%", "per 10k", "ratio", "s", "ms", "count", "per turn"]
SCALES: dict[Unit, float] = {"%": 100, "per 10k": 10_000}
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Rate(Struct, frozen=True):
    """A figure that is one sum over users divided by another; see `counting` and `attribution` for the sums."""

    hits: str
    of: str
    unit: Unit
    says: str


class Figure(Struct, frozen=True, omit_defaults=True):
    """A figure in its unit, with the ends of its interval; without a method it was not measured.

    value     None also where it is beyond all that was waited for: a quantile that falls on turns that never ended.
    low, high likewise; what was `counted` has none.
    hits, of  the sums that a rate is made of.
    """

    value: float | None
    unit: Unit
    low: float | None = None
    high: float | None = None
    method: str = ""
    hits: int | None = None
    of: int | None = None

    def span(self) -> tuple[float, float, float]:
        """Return the lower end, the value and the higher end as numbers to be compared.

        Raises `ValueError` for what was not measured.
        """
        if not self.method:
            raise ValueError("this was not measured")
        value = math.inf if self.value is None else self.value
        if self.method == "counted":
            return value, value, value
        low, high = (math.inf if end is None else end for end in (self.low, self.high))
        return low, value, high


RATES = {
    "terminal": Rate("terminal", "turns", "%", "turns whose run ended within 120 s"),
    "completed": Rate("completed", "turns", "%", "turns whose run was completed"),
    "no_stall": Rate("unstalled", "steps", "%", "steps that were less than 5 s in requires_action"),
    "steps_per_turn": Rate("steps", "turns", "per turn", "steps for each turn"),
    "submitted": Rate("taken", "attempts", "%", "submission attempts that a step's outputs were taken with"),
    "planned": Rate("plan", "writing", "per 10k", "write actions that the orchestrator planned"),
    "intended": Rate("meant", "writing", "per 10k", "write actions that users meant"),
    "observed": Rate("observed", "writing", "per 10k", "write actions in the tools' audit"),
    "observed_to_plan": Rate("observed", "plan", "ratio", "write actions observed, to those planned"),
    "observed_to_intended": Rate("observed", "meant", "ratio", "write actions observed, to those meant"),
    "duplicates": Rate("duplicates", "writing", "per 10k", "effects beyond those that users meant"),
    "duplicates_made": Rate("duplicates_made", "writing", "per 10k", "of these, that no turn asked for twice"),
    "duplicates_resent": Rate("duplicates_resent", "writing", "per 10k", "of these, that a resent turn asked for"),
    "duplicates_said_again": Rate(
        "duplicates_said_again", "writing", "per 10k", "of these, that users asked for by saying it again"
    ),
    "duplicates_moved": Rate(
        "duplicates_moved", "writing", "per 10k", "of these, that a turn asked for in a second region"
    ),
    "hidden_by_plan": Rate("hidden_by_plan", "writing", "per 10k", "of these, that were planned twice"),
    "lost": Rate("lost", "writing", "per 10k", "effects that were meant and are not there"),
    "suppressed": Rate("suppressed", "writing", "per 10k", "of these, legitimate repeats taken for duplicates"),
    "missing": Rate("missing", "writing", "per 10k", "of these, without a trace"),
    "missing_silently": Rate("missing_silently", "writing", "per 10k", "of these, though a result was told"),
    "unknown": Rate("unknown", "writing", "per 10k", "write calls of which the run was told that nobody knows"),
    "repeated_calls": Rate(
        "repeated", "calls", "per 10k", "calls that were executed more than once, of those executed"
    ),
    "clusters": Rate("clusters", "writing", "per 10k", "clusters of audit entries that look alike"),
    "clusters_of_two": Rate("clusters_of_two", "writing", "per 10k", "clusters of two entries"),
    "clusters_of_more": Rate("clusters_of_more", "writing", "per 10k", "clusters of three entries or more"),
    "one_attempt": Rate("one_attempt", "submitted", "%", "steps submitted with one attempt"),
    "two_attempts": Rate("two_attempts", "submitted", "%", "steps submitted with two attempts"),
    "more_attempts": Rate("more_attempts", "submitted", "%", "steps submitted with three attempts or more"),
    "without_id": Rate("without_id", "attempts", "%", "submission attempts without a tool_call_id"),
}

OTHERS: dict[str, tuple[Unit, str]] = {
    "repeated_keys": ("count", "calls that were executed more than once"),
    "repeated_keys_moved": ("count", "of these, of turns that were sent to a second region as well"),
    "executions_of_one_key": ("count", "executions of the call that was executed most often"),
    "unkeyed": ("count", "effects of requests that brought no id"),
    "steps_median": ("per turn", "median of steps for each turn"),
    "inter_arrival": ("s", "median time between entries of a cluster"),
    "p50": ("s", "median time of a turn"),
    "p95": ("s", "95th percentile of the times of turns"),
    "p99": ("s", "99th percentile of the times of turns"),
    "p50_ratio": ("ratio", "p50 to that of the variant without a proxy"),
    "p95_ratio": ("ratio", "p95 to that of the variant without a proxy"),
    "p99_ratio": ("ratio", "p99 to that of the variant without a proxy"),
    "added_median": ("%", "what the proxy adds to the median turn where nothing goes wrong"),
    "coordinator_busy": ("%", "CPU of all coordinators, of one core"),
    "cpu": ("ms", "CPU of coordinators, sidecars and stores for each turn"),
    "store_ops": ("per turn", "store commands for each turn"),
}

KNOWN = {**{name: (rate.unit, rate.says) for name, rate in RATES.items()}, **OTHERS}
"""Every figure's unit, and what it is."""
