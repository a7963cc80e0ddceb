"""What one variant did in one environment, summed for each user: all that figures and their intervals are made of.

The records are read once, one kind after the other; what stays in memory is the effects of this one variant, the times
of its turns, and the sums.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from evaluation.replay import records
from evaluation.replay.clusters import Clusters, clusters_in, figures
from evaluation.replay.lines import BadLine
from evaluation.replay.records import Call, Outcome, Step, Usage
from evaluation.replay.truth import Executions, executions, observed
from evaluation.replay.turns import Identity
from evaluation.report.attribution import attribute
from evaluation.report.sample import SampleTold, told_by_samples
from evaluation.report.share import Share, is_resent, user_of
from evaluation.tools.audit import Effect, effects_in

NO_STALL_S = 5
"""How long a step may be in requires_action: the seed's objective."""

TERMINAL_S = 120
"""Within which a turn is to have ended: the seed's objective."""

Sums = defaultdict[str, Counter[str]]
"""By what was counted: how often, for each user."""


class Counted(Struct):
    """What was counted.

    sums       of everything that is counted by user, see `figures.RATES` for what there is.
    timed      the time of each turn that was sent, infinite for one that did not end, and its user's place.
    steps      how many steps each run of a turn had, as `steps[n]` turns with n.
    movers     turns that were sent to a second region as well.
    plan_from  whether the orchestrator's plan is that of the API's calls, or what the trace lets one expect.
    """

    share: Share
    usage: Usage
    sums: Sums = field(default_factory=lambda: defaultdict(Counter))
    timed: list[tuple[float, int]] = field(default_factory=list)
    steps: Counter[int] = field(default_factory=Counter)
    executions: Executions = field(default_factory=lambda: Executions({}))
    clusters: Clusters = field(default_factory=lambda: Clusters(0, 0, 0, None, 0))
    samples: tuple[SampleTold, ...] = ()
    plan_from: Literal["calls", "trace"] = "trace"
    movers: set[str] = field(default_factory=set)
    statuses: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)


def count(directory: Path, share: Share, *, window_s: float, seed: int) -> Counted:
    """Count what a variant's records say. Raises `BadLine`, `BadAudit` and `OSError`."""
    counted = Counted(share, records.read_usage(directory))
    counted.sums["turns"], counted.sums["writing"] = share.own, share.writing
    _count_outcomes(counted, directory / records.OUTCOMES)
    _count_steps(counted, records.read_lines(directory / records.STEPS, Step))
    calls = directory / records.CALLS
    planned, told, two_regions = share.plan, None, set[str]()
    if calls.exists():
        planned, told, two_regions = _count_calls(counted, records.read_lines(calls, Call))
    effects = list(effects_in(directory / records.EFFECTS))
    moved = Counter(effect for turn in counted.movers for effect in share.turns[turn].planned())
    attribute(counted.sums, share, observed(effects), planned, told, moved)
    _count_executions(counted, effects, two_regions)
    _count_clusters(counted, effects, window_s)
    counted.samples = told_by_samples(effects, share.meant, seed)
    return counted


def count_times(directory: Path, share: Share) -> list[tuple[float, int]]:
    """Return the times of the turns alone, as `Counted.timed` has them. Raises `BadLine` and `OSError`."""
    counted = Counted(share, Usage(0, {}, 0, {}))
    _count_outcomes(counted, directory / records.OUTCOMES)
    return counted.timed


def _count_outcomes(counted: Counted, path: Path) -> None:
    places = {user: place for place, user in enumerate(counted.share.users)}
    for outcome in records.read_lines(path, Outcome):
        turn = counted.share.turns.get(outcome.turn)
        if turn is None:
            told = f"{outcome.turn!r} is no turn of this environment's"
            raise BadLine(f"{path}: turn: {told}: put back the trace that was replayed, or replay anew")
        if outcome.moved:
            counted.movers.add(turn.id)
        if is_resent(turn):
            continue
        user = user_of(turn.tenant, turn.user)
        ended = outcome.ended_at if outcome.status not in {"refused", "open"} else None
        seconds = math.inf if ended is None else ended - outcome.sent_at
        counted.timed.append((seconds, places[user]))
        counted.statuses[outcome.status] += 1
        counted.sums["terminal"][user] += seconds <= TERMINAL_S
        counted.sums["completed"][user] += outcome.status == "completed"


def _count_steps(counted: Counted, steps: Iterable[Step]) -> None:
    sums, of_turn = counted.sums, Counter[str]()
    for step in steps:
        user = counted.share.user(step.turn)
        of_turn[step.turn] += 1
        sums["steps"][user] += 1
        sums["unstalled"][user] += step.taken_at is not None and step.taken_at - step.asked_at < NO_STALL_S
        sums["attempts"][user] += step.attempts
        sums["taken"][user] += step.taken_at is not None
        sums["without_id"][user] += step.without_id
        sums["regenerated"][user] += step.regenerated
        if step.attempts:
            sums["submitted"][user] += 1
            sums[("one_attempt", "two_attempts", "more_attempts")[min(step.attempts, 3) - 1]][user] += 1
    without = sum(counted.share.own.values()) - len(of_turn.keys() - {""})
    counted.steps = Counter(of_turn.values()) + Counter({0: max(without, 0)})


def _count_calls(counted: Counted, calls: Iterable[Call]) -> tuple[Counter[Identity], Counter[Identity], set[str]]:
    """Return what was planned, of which of these effects the run was told that there is a result, and the runs of turns
    that were sent to a second region as well."""
    planned, told, two_regions = Counter[Identity](), Counter[Identity](), set[str]()
    for call in calls:
        if call.turn in counted.movers:
            two_regions.add(call.run_id)
        identity = counted.share.writes.get((call.tool, call.payload_hash))
        if identity is None:
            continue
        planned[identity] += 1
        told[identity] += call.output_outcome == "result"
        counted.told[call.output_outcome] += 1
        user = user_of(identity.tenant, identity.user)
        counted.sums["unknown"][user] += call.output_outcome == "unknown"
    counted.plan_from = "calls"
    return planned, told, two_regions


def _count_executions(counted: Counted, effects: list[Effect], two_regions: Container[str]) -> None:
    by_user: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        by_user[user_of(effect.tenant, effect.user_id)].append(effect)
    for user, theirs in by_user.items():
        found = executions(theirs)
        counted.sums["calls"][user] = sum(found.times.values())
        counted.sums["repeated"][user] = found.repeated
    counted.executions = executions(effects, two_regions)


def _count_clusters(counted: Counted, effects: list[Effect], window_s: float) -> None:
    clusters = clusters_in(effects, window_s)
    users = {(one.tool, one.payload_hash, one.tenant): user_of(one.tenant, one.user_id) for one in effects}
    for cluster in clusters:
        user = users[cluster.alike]
        counted.sums["clusters"][user] += 1
        counted.sums["clusters_of_two" if len(cluster.times) == 2 else "clusters_of_more"][user] += 1
    counted.clusters = figures(clusters, counted.share.meant)
