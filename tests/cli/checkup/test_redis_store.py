"""What is said about a server, from what its `INFO` tells."""

from __future__ import annotations

from typing import Any

import pytest

from cli.checkup.redis_store import judge, judge_latency, skew
from ledger.store import UnfitStore
from ledger.stores import redis_fitness

FIT: dict[str, Any] = {
    "redis_version": "7.0.15",
    "redis_mode": "standalone",
    "role": "master",
    "connected_slaves": 0,
    "maxmemory_policy": "noeviction",
    "maxmemory": 0,
    "used_memory": 900_000,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
}


def unfit(info: dict[str, Any], append_fsync: str | None = "everysec") -> dict[str, str]:
    """Return the severities that are not `ok`, by check."""
    return {finding.check: finding.severity for finding in judge(info, append_fsync) if finding.severity != "ok"}


def test_fit_server_has_no_findings() -> None:
    """The base of the cases below: each of them changes one thing."""
    assert unfit(FIT) == {}


CASES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"redis_version": "6.0.16"}, {"store-version": "error"}),
    ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, {}),
    ({"redis_mode": "cluster"}, {"store-mode": "error"}),
    ({"redis_mode": "sentinel"}, {"store-mode": "error"}),
    ({"role": "slave", "master_host": "a", "master_port": 1}, {"store-role": "error"}),
    ({"connected_slaves": 1}, {"store-role": "warning"}),
    ({"connected_slaves": 1, "min_slaves_good_slaves": 1}, {}),
    ({"maxmemory_policy": "volatile-lru"}, {"store-eviction": "error"}),
    ({"maxmemory": 1_000_000}, {"store-memory": "warning"}),
    ({"maxmemory": 10_000_000}, {}),
    ({"aof_enabled": 0}, {"store-persistence": "warning"}),
    ({"aof_last_write_status": "err"}, {"store-persistence": "error"}),
]


@pytest.mark.parametrize(("change", "expected"), CASES)
def test_one_thing_amiss_is_one_finding(change: dict[str, Any], expected: dict[str, str]) -> None:
    """Each condition is found by its own check, and every finding comes with a remedy."""
    assert unfit(FIT | change) == expected
    assert all(finding.remedy for finding in judge(FIT | change, None) if finding.severity != "ok")


@pytest.mark.parametrize("change", [change for change, _ in CASES])
def test_what_the_store_refuses_to_start_with_is_an_error_here(change: dict[str, Any]) -> None:
    """The doctor never calls a server fit that the proxy would turn away."""
    told = {name: str(value) for name, value in (FIT | change).items()}
    try:
        redis_fitness.judge(redis_fitness.Facts(told, {}), "here")
    except UnfitStore:
        assert "error" in unfit(FIT | change).values()


def test_append_only_file_that_is_never_synced_is_a_warning() -> None:
    """`appendfsync no` leaves claims to the kernel."""
    assert unfit(FIT, "no") == {"store-persistence": "warning"}


def test_forbidden_config_is_no_finding() -> None:
    """Managed services refuse `CONFIG`: what cannot be known is said, not judged."""
    assert unfit(FIT, None) == {}


def test_slow_round_trips_are_a_warning_with_the_measured_times() -> None:
    """The median decides: one slow ping is no finding."""
    assert judge_latency([0.5] * 49 + [400.0]).severity == "ok"
    slow = judge_latency([9.0] * 50)
    assert slow.severity == "warning"
    assert "p50 9.00 ms" in slow.message


class StoppedClock:
    """A server whose clock stands at the epoch."""

    def time(self) -> tuple[int, int]:
        """Answer as redis-py does: seconds and microseconds."""
        return (0, 0)


def test_clocks_that_disagree_are_a_warning() -> None:
    """Logs and the store's history are read side by side."""
    assert skew(StoppedClock()).severity == "warning"
