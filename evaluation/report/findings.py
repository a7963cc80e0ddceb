"""Everything that a replay showed: this is what `report.json` holds, and all that is rendered."""

from __future__ import annotations

from msgspec import Struct

from evaluation.replay.records import Plan
from evaluation.report.figures import Figure
from evaluation.report.gate import Decision, Gate
from evaluation.report.sample import SampleTold

SCHEMA = "holdfast.evaluation/v1"

STEPS = (("A", "B"), ("B", "C"), ("C", "D"), ("B", "E"))
"""Which variant is compared with which: what hybrid watching and shared dedup change, what the proxy does, what effect
keys do, and what Holdfast as a whole does to the reference coordinator without it."""

COMPARED = ("terminal", "no_stall", "duplicates", "duplicates_made", "lost", "suppressed", "clusters")


class Replay(Struct, frozen=True):
    """One variant in one environment.

    turns, writing  turns that were said, and those of them with a call that writes; resent ones are not counted twice.
    figures         by their names, see `figures.KNOWN`.
    statuses        how the runs of turns ended; `told`, what the outputs of write calls said.
    executions      how many calls were executed once, twice, …, by number.
    all_meant       clusters with no more entries than were meant alike: wrong guesses, by any right.
    plan_from       whether the plan is that of the API's calls, or what the trace lets one expect.
    cpu_ms          CPU for each turn, by kind of process.
    """

    environment: str
    variant: str
    turns: int
    writing: int
    seconds: float
    figures: dict[str, Figure]
    statuses: dict[str, int]
    told: dict[str, int]
    executions: dict[int, int]
    all_meant: int
    plan_from: str
    samples: tuple[SampleTold, ...]
    cpu_ms: dict[str, float]
    outages: dict[str, int]
    moved: int


class Comparison(Struct, frozen=True):
    """By how much a figure of one variant is above that of another, paired by user."""

    environment: str
    variant: str
    against: str
    figure: str
    difference: Figure


class Pair(Struct, frozen=True):
    """The median turn without faults, without and with a proxy, and what the proxy adds to it."""

    environment: str
    without: str
    through: str
    turns: int
    p50_without: Figure
    p50_through: Figure
    added: Figure


class Findings(Struct, frozen=True):
    """The whole report.

    users       the clusters of the intervals, by environment.
    unfinished  folders that the plan names and that have no `done`: they are in no figure.
    passed      whether all candidates of the gate ship: the exit code.
    """

    plan: Plan
    users: dict[str, int]
    replays: tuple[Replay, ...]
    comparisons: tuple[Comparison, ...]
    pairs: tuple[Pair, ...]
    unfinished: tuple[str, ...]
    gate: Gate
    decisions: tuple[Decision, ...]
    passed: bool
    schema: str = SCHEMA

    def replay(self, environment: str, variant: str) -> Replay | None:
        """Return what one variant showed in one environment."""
        found = [one for one in self.replays if (one.environment, one.variant) == (environment, variant)]
        return found[0] if found else None
