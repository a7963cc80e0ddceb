"""Clusters: executions that are one call done more than once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evaluation.triage.clusters import Cluster, Repeats, clusters, find_clusters
from evaluation.triage.event import Event
from evaluation.triage.executions import find_executions
from evaluation.triage.spill import Spill


def found(events: Iterable[Event]) -> tuple[list[Cluster], Repeats]:
    """Return the clusters and the repeats among these effects."""
    with Spill(1 << 24) as spill:
        for event in events:
            spill.add(event)
        spill.complete()
        find_executions(spill)
        repeats = find_clusters(spill)
        return list(clusters(spill)), repeats


def effect(audit: str, at: int, **fields: Any) -> Event:
    """Return an effect at a second."""
    return Event(kind="effect", audit=audit, at=at * 1_000, tool="t", **fields)


def test_same_payload_within_the_window_is_one_call() -> None:
    """Each within 90 s of the one before: a chain may be longer than the window."""
    (cluster,), repeats = found(effect(f"a{at}", at, payload="h") for at in (0, 80, 160))
    assert (cluster.size, repeats.count) == (3, 0)


def test_same_payload_beyond_the_window_is_a_repeat() -> None:
    """Mentioned, and not in a cluster."""
    some, repeats = found(effect(f"a{at}", at, payload="h") for at in (0, 91))
    assert (some, repeats.count) == ([], 1)


def test_same_call_is_one_call_however_far_apart() -> None:
    """An id is no coincidence: an hour later it is the same call, and no repeat beside that."""
    (cluster,), repeats = found(effect(f"a{at}", at, payload="h", run="r", call="c") for at in (0, 3_600))
    assert (cluster.size, repeats.count) == (2, 0)


def test_id_that_was_reused_for_another_payload_is_another_call() -> None:
    """Some providers do."""
    some, _ = found([effect("a", 0, payload="h", run="r", call="c"), effect("b", 1, payload="i", run="r", call="c")])
    assert some == []


def test_other_user_or_tenant_is_another_call() -> None:
    """The same payload for two customers is two effects that were asked for."""
    some, _ = found([effect("a", 0, payload="h", user="u1"), effect("b", 1, payload="h", user="u2")])
    assert some == []
    some, _ = found([effect("a", 0, payload="h", tenant="x"), effect("b", 1, payload="h", tenant="y")])
    assert some == []


def test_what_is_joined_by_identity_and_by_effect_is_one_cluster() -> None:
    """Two pairs that share an execution, and two clusters that a third joins."""
    events = [
        effect("a", 0, payload="h", run="r", call="c1"),
        effect("b", 3_600, run="r", call="c1"),
        effect("c", 20, payload="h", run="r", call="c2"),
        effect("d", 7_200, run="r", call="c2"),
    ]
    (cluster,), _ = found(events)
    assert cluster.size == 4
