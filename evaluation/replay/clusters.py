"""Clusters as the seed's fourth artifact has them: audit entries that look alike and stand close together.

They are a guess at duplicates, made without knowing what was meant. Beside the guess stands how good it was: a cluster
of effects that were all meant is no duplicate, and a duplicate after the window is in no cluster.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from msgspec import Struct

from evaluation.replay.turns import Identity
from evaluation.replay.workload import WINDOW_S
from evaluation.tools.audit import Effect

Alike = tuple[str, str, str]
"""Tool, payload hash and tenant."""


class Cluster(Struct, frozen=True):
    """Two entries or more, within the window from the first one's time to the last one's; `times` ascend."""

    alike: Alike
    times: tuple[float, ...]


class Clusters(Struct, frozen=True):
    """The figures of the artifact, and what the guess is worth.

    inter_arrival_s  the median time from an entry to the next in its cluster; None without clusters.
    all_meant        clusters with no more entries than were meant alike: no duplicate is in them, by any right.
    """

    clusters: int
    of_two: int
    of_more: int
    inter_arrival_s: float | None
    all_meant: int


def clusters_in(effects: Iterable[Effect], window_s: float = WINDOW_S) -> list[Cluster]:
    """Return the clusters among effects, by what they have in common. An entry belongs to the cluster whose first entry
    is at most `window_s` before it, else it begins one; so no entry is in two, and none spans more than the window."""
    alike: defaultdict[Alike, list[float]] = defaultdict(list)
    for effect in effects:
        alike[effect.tool, effect.payload_hash, effect.tenant].append(effect.ts)
    found = []
    for name, times in sorted(alike.items()):
        group: list[float] = []
        for at in sorted(times):
            if group and at - group[0] > window_s:
                found.append(Cluster(name, tuple(group)))
                group = []
            group.append(at)
        found.append(Cluster(name, tuple(group)))
    return [cluster for cluster in found if len(cluster.times) > 1]


def figures(clusters: Iterable[Cluster], meant: Mapping[Identity, int]) -> Clusters:
    """Return the artifact's figures. `meant` says which effects users wanted, as `truth.intended` does."""
    wanted: Counter[Alike] = Counter()
    for identity, times in meant.items():
        wanted[identity.tool, identity.payload_hash, identity.tenant] += times
    clusters = list(clusters)
    gaps = [later - earlier for cluster in clusters for earlier, later in pairwise(cluster.times)]
    of_two = sum(len(cluster.times) == 2 for cluster in clusters)
    return Clusters(
        clusters=len(clusters),
        of_two=of_two,
        of_more=len(clusters) - of_two,
        inter_arrival_s=statistics.median(gaps) if gaps else None,
        all_meant=sum(len(cluster.times) <= wanted[cluster.alike] for cluster in clusters),
    )
