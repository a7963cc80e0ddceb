"""How long the steps of turns wait, read from the accounts of the API, the tools and the coordinator. Pure.

The API thinks for a constant time, so that the instant at which a run asks for its next step is known from outside: the
time at which the step before was handed in, and that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from msgspec import Struct

_BUCKET = re.compile(r'^(?P<name>holdfast_\w+)_bucket\{le="(?P<le>[^"]+)"\} (?P<count>\S+)$', re.MULTILINE)
_SAMPLE = re.compile(r"^(?P<name>holdfast_\w+) (?P<value>\S+)$", re.MULTILINE)


class Delays(Struct, frozen=True):
    """Seconds, one for each step but the first of a run.

    dispatch  from when the API asks for a step to when its first call has come to the tool.
    submit    from the effect of a step's last call to when the API takes the step's outputs.
    """

    dispatch: tuple[float, ...]
    submit: tuple[float, ...]


def delays(submissions: Sequence[Mapping[str, Any]], effects: Iterable[Mapping[str, Any]], think_s: float) -> Delays:
    """Return the delays of all steps, from the API's submissions and the tools' effects (Unix seconds in both)."""
    taken: dict[str, list[Mapping[str, Any]]] = {}
    for one in submissions:
        if one["taken"]:
            taken.setdefault(one["run_id"], []).append(one)
    came: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for effect in effects:
        came.setdefault((effect["run_id"], effect["step_id"]), []).append(effect)
    dispatch, submit = [], []
    for run_id, steps in taken.items():
        for before, step in pairwise(steps):
            calls = came.get((run_id, step["step_id"]), [])
            if calls:
                dispatch.append(min(call["arrived_at"] for call in calls) - (before["at"] + think_s))
                submit.append(step["at"] - max(call["ts"] for call in calls))
    return Delays(tuple(sorted(dispatch)), tuple(sorted(submit)))


def histogram(exposition: str, name: str) -> dict[float, float]:
    """Return a histogram's counts by upper bound, each bound's own (not what is below it as well)."""
    found = [(float(one["le"]), float(one["count"])) for one in _BUCKET.finditer(exposition) if one["name"] == name]
    below, own = 0.0, {}
    for bound, count in sorted(found):
        own[bound], below = count - below, count
    return own


def grown(before: Mapping[float, float], after: Mapping[float, float]) -> dict[float, float]:
    """Return what came into a histogram between two readings."""
    return {bound: count - before.get(bound, 0.0) for bound, count in after.items()}


def median_bound(counts: Mapping[float, float]) -> float | None:
    """Return the bound of the bucket in which the median lies; None of nothing."""
    half, seen = sum(counts.values()) / 2, 0.0
    for bound, count in sorted(counts.items()):
        seen += count
        if count and seen >= half:
            return bound
    return None


def beyond(counts: Mapping[float, float], bound: float) -> float:
    """Return how many were above `bound`, which is one of the buckets'."""
    return sum(count for upper, count in counts.items() if upper > bound)


def value(exposition: str, name: str) -> float:
    """Return a metric without labels; 0 where there is none."""
    return next((float(one["value"]) for one in _SAMPLE.finditer(exposition) if one["name"] == name), 0.0)
