"""Clusters, as the seed defines them, and what they are worth."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.replay.clusters import Clusters, clusters_in, figures
from evaluation.tools.audit import Effect
from tests.evaluation.replay.audits import effect, identity


def at(*times: float, payload: str = "a", user: str = "u1", tenant: str = "acme") -> list[Effect]:
    """Return effects of one payload at these times."""
    return [effect(identity(payload, user=user, tenant=tenant), time) for time in times]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ((0.0,), []),
        ((0.0, 90.0), [(0.0, 90.0)]),
        ((0.0, 90.1), []),
        ((0.0, 60.0, 120.0), [(0.0, 60.0)]),
        ((0.0, 5.0, 100.0, 110.0, 115.0), [(0.0, 5.0), (100.0, 110.0, 115.0)]),
    ],
)
def test_cluster_spans_no_more_than_the_window(times: tuple[float, ...], found: list[tuple[float, ...]]) -> None:
    """Entries within 90 s of the first are its cluster; the next one after that begins another, a lone one is none."""
    assert [cluster.times for cluster in clusters_in(at(*times))] == found


def test_entries_are_alike_by_tool_payload_and_tenant() -> None:
    """Another tenant's or another payload's entry is not alike; another user's is, since the seed does not ask."""
    effects = at(0, user="u1") + at(1, user="u2") + at(2, tenant="other") + at(3, payload="b")
    (cluster,) = clusters_in(effects)
    assert cluster.alike == ("create_ticket", "a", "acme")
    assert cluster.times == (0, 1)


def test_figures_tell_clusters_that_are_no_duplicates() -> None:
    """Of three clusters one is of an effect that was meant twice; the gaps' median is over all of them."""
    effects = at(0, 4) + at(0, 10, 40, payload="b") + at(0, 6, payload="c")
    meant = Counter({identity("a"): 1, identity("b"): 1, identity("c"): 2})
    found = figures(clusters_in(effects), meant)
    assert found == Clusters(clusters=3, of_two=2, of_more=1, inter_arrival_s=8.0, all_meant=1)


def test_no_clusters_have_no_inter_arrival() -> None:
    """There is no median of nothing."""
    assert figures([], {}) == Clusters(0, 0, 0, None, 0)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 400)), max_size=20), st.data())
def test_order_of_the_audit_does_not_matter(entries: list[tuple[str, float]], data: st.DataObject) -> None:
    """The clusters are the same, no entry is in two, and none is longer than the window."""
    effects = [effect(identity(payload), time) for payload, time in entries]
    found = clusters_in(effects)
    assert clusters_in(data.draw(st.permutations(effects))) == found
    assert sum(len(cluster.times) for cluster in found) <= len(effects)
    assert all(cluster.times[-1] - cluster.times[0] <= 90 for cluster in found)
