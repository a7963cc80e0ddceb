"""Clusters: executions that are one call done more than once.

By identity: the same run, tool call and tool, whenever (ids that a provider reused for another payload are not the same
call). By effect: the same tenant, user, tool and payload hash, each within `window_ms` of the one before, as the
evaluation counts them. The same effect further apart is a repeat: mentioned, and not called a duplicate.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from evaluation.triage.spill import Spill

WINDOW_MS = 90_000
REPEATS_MAX = 20
"""Repeats that are told one by one; the rest is a number."""


class Repeat(Struct, frozen=True):
    """Two executions that do the same, too far apart to be called one call: their names and the gap."""

    first: str
    second: str
    gap_ms: int


class Repeats(Struct):
    """The first repeats, and how many there were in all."""

    told: list[Repeat]
    count: int = 0


class Cluster(Struct, frozen=True):
    """A cluster's number and how many executions it has."""

    id: int
    size: int


def find_clusters(spill: Spill, window_ms: int = WINDOW_MS) -> Repeats:
    """Fill the table of members (execution, cluster), and return what was too far apart. Raises `SpillFull`."""
    spill.run("CREATE TABLE member (execution INTEGER PRIMARY KEY, cluster INTEGER)")
    spill.run("CREATE INDEX member_cluster ON member (cluster)")
    spill.run("BEGIN")
    _by_identity(spill)
    repeats = _by_effect(spill, window_ms)
    spill.run("COMMIT")
    return repeats


def _by_identity(spill: Spill) -> None:
    """Join what has the same call. A payload that is not told may be any; one that differs is another call."""
    previous: tuple[int, tuple[str, ...], str, str] | None = None
    for id_, tenant, run, call, tool, hashed, payload in spill.run(
        "SELECT id, tenant, run, call, tool, hashed, payload FROM execution WHERE run <> '' AND call <> '' "
        "ORDER BY tenant, run, call, tool, payload, id"
    ):
        key = (tenant, run, call, tool)
        if previous is not None and previous[1] == key:
            comparable = previous[2] == hashed and bool(previous[3]) and bool(payload)
            if not comparable or previous[3] == payload:
                _join(spill, previous[0], id_)
        previous = (id_, key, hashed, payload)


def _by_effect(spill: Spill, window_ms: int) -> Repeats:
    repeats = Repeats([])
    previous: tuple[int, tuple[str, ...], int, str] | None = None
    for id_, tenant, user, hashed, tool, payload, at, name in spill.run(
        "SELECT id, tenant, user, hashed, tool, payload, at, name FROM execution "
        "WHERE payload <> '' AND at IS NOT NULL ORDER BY tenant, user, hashed, tool, payload, at, name"
    ):
        key = (tenant, user, hashed, tool, payload)
        if previous is not None and previous[1] == key:
            gap = at - previous[2]
            if gap <= window_ms:
                _join(spill, previous[0], id_)
            elif not _together(spill, previous[0], id_):
                repeats.count += 1
                if len(repeats.told) < REPEATS_MAX:
                    repeats.told.append(Repeat(previous[3], name, gap))
        previous = (id_, key, at, name)
    return repeats


def _cluster_of(spill: Spill, execution: int) -> int | None:
    found = spill.value("SELECT cluster FROM member WHERE execution = ?", execution)
    return None if found is None else int(found)


def _together(spill: Spill, one: int, other: int) -> bool:
    cluster = _cluster_of(spill, one)
    return cluster is not None and cluster == _cluster_of(spill, other)


def _join(spill: Spill, one: int, other: int) -> None:
    """Put two executions into one cluster, with all that are with either."""
    a, b = _cluster_of(spill, one), _cluster_of(spill, other)
    if a is not None and b is not None:
        spill.run("UPDATE member SET cluster = ? WHERE cluster = ?", min(a, b), max(a, b))
        return
    cluster = next((found for found in (a, b) if found is not None), min(one, other))
    for execution, standing in ((one, a), (other, b)):
        if standing is None:
            spill.run("INSERT INTO member VALUES (?, ?)", execution, cluster)


def clusters(spill: Spill) -> Iterator[Cluster]:
    """Yield the clusters in the order of their first effects."""
    for cluster, size in spill.run(
        "SELECT member.cluster, count(*) FROM member JOIN execution ON execution.id = member.execution "
        "GROUP BY member.cluster ORDER BY min(execution.at), min(execution.name)"
    ):
        yield Cluster(cluster, size)
