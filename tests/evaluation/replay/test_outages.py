"""Outages: as many as planned, at times that the seed decides, and never of what is down."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.replay.outages import Bursts, Killed, Kind, Outage, Outages, Restarted, Who, schedule
from evaluation.replay.plan import read_plan
from evaluation.scripts import Range

REPLICAS: dict[Kind, int] = {"coordinator": 6, "sidecar": 6, "store": 1}
DAY_S = 24 * 3600


def near(found: int, expected: float) -> bool:
    """Say whether a count is within 5 standard deviations of what is expected of things that come at random."""
    return abs(found - expected) <= 5 * math.sqrt(expected)


def test_outages_are_as_many_as_planned() -> None:
    """In a hundred days, of each kind and each way of going."""
    told = Outages(Killed(12), Killed(6), Restarted(2), Bursts(1, share=0.5))
    found = schedule(told, 1, 100 * DAY_S, REPLICAS)
    counted = [(outage.who, outage.how) for outage in found]
    hours = 2_400
    assert near(counted.count(("coordinator", "kill")), 12 * hours)
    assert near(counted.count(("sidecar", "kill")), 6 * hours)
    assert near(counted.count(("store", "stop")), 2 * hours)
    # Three of six instances in each burst.
    assert abs(counted.count(("instance", "stop")) - 3 * hours) <= 3 * 5 * math.sqrt(hours)
    assert {outage.replica for outage in found if outage.who == "instance"} == set(range(6))


def test_burst_takes_its_share_of_the_instances_within_its_time() -> None:
    """Half of five is three, all of them others, and no two bursts are the same."""
    told = Outages(bursts=Bursts(0.1, within=15, share=0.5, down=Range(1, 2)))
    found = schedule(told, 3, 30 * DAY_S, {"coordinator": 5, "sidecar": 5})
    bursts: list[list[Outage]] = []
    for outage in found:
        if not bursts or outage.at - bursts[-1][0].at > 15:
            bursts.append([])
        bursts[-1].append(outage)
    assert near(len(bursts), 72)
    who = {tuple(sorted(one.replica for one in burst)) for burst in bursts}
    assert {len(set(replicas)) for replicas in who} == {3}
    assert len(who) > 3
    assert all((one.who, one.how) == ("instance", "stop") and 1 <= one.down_s <= 2 for one in found)


@given(seed=st.integers(0, 10**6), seconds=st.floats(0, 4 * 3_600))
def test_nothing_goes_that_is_down(seed: int, seconds: float) -> None:
    """Outages are in order and within the time, and of one replica each begins when the last is over."""
    told = Outages(Killed(200, Range(0, 120)), Killed(50), Restarted(20), Bursts(30))
    found = schedule(told, seed, seconds, REPLICAS)
    assert list(found) == sorted(found)
    assert all(0 <= outage.at < seconds for outage in found)
    of_each: list[tuple[Who, int]] = [*REPLICAS.items(), ("instance", REPLICAS["coordinator"])]
    for who, replicas in of_each:
        for replica in range(replicas):
            own = [outage for outage in found if (outage.who, outage.replica) == (who, replica)]
            assert all(one.at + one.down_s <= other.at for one, other in pairwise(own))


def test_longer_schedule_begins_with_the_shorter_one() -> None:
    """What happens in the first hour does not depend on how long the replay is; it depends on the seed."""
    outages = read_plan().outages
    hour, day = (schedule(outages, 5, seconds, REPLICAS) for seconds in (3_600, DAY_S))
    assert hour == tuple(outage for outage in day if outage.at < 3_600) != ()
    assert schedule(outages, 6, 3_600, REPLICAS) != hour


def test_what_is_not_there_does_not_go() -> None:
    """A replay without sidecars or a store of its own has no outages of them."""
    found = schedule(read_plan().outages, 1, DAY_S, {"coordinator": 2})
    assert {outage.who for outage in found} == {"coordinator", "instance"}
    assert schedule(read_plan().outages, 1, DAY_S, {}) == ()
    assert schedule(Outages(), 1, DAY_S, REPLICAS) == ()


@pytest.mark.parametrize(
    ("part", "wrong", "told"),
    [
        (Killed, {"kills_per_hour": -1}, "killsPerHour"),
        (Killed, {"down": Range(-1, 1)}, "down"),
        (Restarted, {"restarts_per_hour": math.inf}, "restartsPerHour"),
        (Bursts, {"per_hour": math.nan}, "perHour"),
        (Bursts, {"share": 1.5}, "share"),
        (Bursts, {"within": -1}, "within"),
    ],
)
def test_outages_that_cannot_be_are_refused(part: type[Any], wrong: dict[str, Any], told: str) -> None:
    """Rates have no sign, and nothing ends before it begins."""
    with pytest.raises(ValueError, match=told):
        part(**wrong)
