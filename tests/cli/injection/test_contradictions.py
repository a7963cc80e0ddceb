"""What is refused. That the sentences are the chart's is shown by tests/helm/test_inject_and_chart.py."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cli.injection.contradictions import Workload, contradictions
from cli.injection.sidecar import Sidecar

REDIS = Sidecar(image="holdfast:1", upstream="http://tools:9000", config_map="ours", store="redis://redis:6379/0")
SQLITE = replace(REDIS, store="", sqlite_claim="ledger")


@pytest.mark.parametrize(
    "workload",
    [
        Workload("Deployment", "agent", 3, "RollingUpdate"),
        Workload("DaemonSet", "agent"),
        Workload("CronJob", "agent", 1, "Allow"),
        Workload("Deployment", "agent", 1, "Recreate", 141),
    ],
    ids=str,
)
def test_shared_store_may_be_anywhere(workload: Workload) -> None:
    """Redis has one ledger for all of them."""
    assert contradictions(REDIS, workload) == []


@pytest.mark.parametrize(
    "workload",
    [
        Workload("Deployment", "agent", 1, "Recreate"),
        Workload("StatefulSet", "agent"),
        Workload("Pod", "agent"),
        Workload("Job", "agent"),
        Workload("CronJob", "agent", 1, "Forbid"),
    ],
    ids=str,
)
def test_disk_may_be_where_there_is_one_pod_at_a_time(workload: Workload) -> None:
    """And it is never shared nor surged over."""
    assert contradictions(SQLITE, workload) == []


def test_everything_that_is_wrong_is_said() -> None:
    """Not the first of it alone."""
    nowhere = replace(SQLITE, sqlite_claim="", store="sqlite:///x")
    told = contradictions(nowhere, Workload("Deployment", "agent", 2, "RollingUpdate", 9))
    assert [sentence.split()[0] for sentence in told] == ["SQLite", "SQLite", "SQLite", "terminationGracePeriodSeconds"]


def test_grace_counts_to_the_second() -> None:
    """One more than the sum is enough, the sum is not: forwards need longer than the longest takes."""
    assert contradictions(REDIS, Workload("Pod", "agent", grace_s=140))
    assert not contradictions(REDIS, Workload("Pod", "agent", grace_s=141))
