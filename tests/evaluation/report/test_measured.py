"""Figures from sums, held against numbers that were worked out apart."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from evaluation.replay.intervals import difference, ratio, wilson
from evaluation.replay.quantiles import Quantiles
from evaluation.replay.records import Usage
from evaluation.replay.truth import Executions
from evaluation.report.counting import Counted, Sums
from evaluation.report.figures import KNOWN, RATES, SHARES, Figure
from evaluation.report.measured import Calm, Measured
from evaluation.report.share import share_of
from tests.evaluation.report.staged import USAGE, turns_of

SHARE = share_of(turns_of(60))
USERS = SHARE.users


def times(seconds: float) -> Quantiles:
    """Return the quantiles of as many turns as there are users, one of which took twice as long."""
    timed = [(seconds * (2 if place == 0 else 1), place) for place in range(len(USERS))]
    return Quantiles(timed, tuple(SHARES.values()), clusters=len(USERS), seed=1, resamples=50)


def measured(
    sums: dict[str, dict[str, int]] | None = None,
    *,
    usage: Usage = USAGE,
    executions: Executions | None = None,
    base: Quantiles | None = None,
    calm: Calm | None = None,
    proxy: bool = True,
) -> Measured:
    """Return figures of such sums by user."""
    counted: Sums = defaultdict(Counter, {name: Counter(users) for name, users in (sums or {}).items()})
    found = Counted(SHARE, usage, counted, executions=executions or Executions({}), steps=Counter({0: 1, 1: 3, 2: 2}))
    return Measured(found, times=times(2.0), seed=1, base=base, calm=calm, proxy=proxy)


def everywhere(number: int, *others: int) -> dict[str, int]:
    """Return so many for each user; for the first ones, others."""
    return dict.fromkeys(USERS, number) | dict(zip(USERS, others, strict=False))


def test_rate_is_the_ratio_of_its_sums() -> None:
    """In its unit, with the interval of the cluster bootstrap over users."""
    hits, of = everywhere(0, 1, 2), everywhere(10)
    found = measured({"duplicates": hits, "writing": of}).figure("duplicates")
    expected = ratio({user: (hits[user], of[user]) for user in USERS}, seed=1)
    assert found.value == pytest.approx(3 / (10 * len(USERS)) * 10_000)
    assert (found.low, found.high) == pytest.approx((expected.low * 10_000, expected.high * 10_000))
    assert (found.unit, found.method, found.hits, found.of) == ("per 10k", "cluster bootstrap", 3, 10 * len(USERS))


def test_nothing_seen_is_as_sure_as_there_are_conversations() -> None:
    """Of those that could have shown it."""
    found = measured({"writing": everywhere(10), "steps": everywhere(5)})
    unseen = found.figure("duplicates")
    assert (unseen.value, unseen.low) == (0, 0)
    assert unseen.high == pytest.approx(wilson(0, SHARE.writing_threads).high * 10_000)
    assert found.figure("no_stall").high == pytest.approx(wilson(0, SHARE.threads).high * 100)
    assert SHARE.writing_threads < SHARE.threads


def test_nothing_but_successes_is_no_certainty_either() -> None:
    """The lower bound is that of as many trials without a failure."""
    found = measured({"unstalled": everywhere(5), "steps": everywhere(5)}).figure("no_stall")
    assert (found.value, found.high) == (100, 100)
    assert found.low == pytest.approx(100 - wilson(0, SHARE.threads).high * 100)


def test_difference_is_paired_by_user() -> None:
    """Two that do the same to each user differ by nothing; and two that are perfect do so for as many trials."""
    steps = everywhere(5)
    some = measured({"unstalled": everywhere(5, 3, 4), "steps": steps})
    fewer = measured({"unstalled": everywhere(4, 2, 3), "steps": steps})
    perfect = measured({"unstalled": steps, "steps": steps})
    same = some.difference(some, "no_stall")
    assert (same.low, same.value, same.high) == (0, 0, 0)
    less = fewer.difference(some, "no_stall")
    assert (less.low, less.value, less.high) == pytest.approx((-20, -20, -20))
    both = perfect.difference(perfect, "no_stall")
    assert both.value == 0
    assert both.high == pytest.approx(wilson(0, SHARE.threads).high * 100)
    ours, theirs = ({user: (users[user], 5) for user in USERS} for users in (everywhere(5, 3, 4), steps))
    bounds = difference(ours, theirs, seed=1)
    found = some.difference(perfect, "no_stall")
    assert (found.low, found.high) == pytest.approx((bounds.low * 100, bounds.high * 100))


def test_more_confidence_is_a_wider_interval() -> None:
    """And the figure stays what it is."""
    found = measured({"duplicates": everywhere(0, 1, 2), "writing": everywhere(3)})
    wide, narrow = (found.figure("duplicates", confidence) for confidence in (0.99, 0.5))
    assert wide.value == narrow.value
    assert wide.high is not None
    assert narrow.high is not None
    assert wide.high > narrow.high


def test_costs_are_for_each_turn() -> None:
    """CPU of coordinators, sidecars and stores, and not of what the replay needs for itself."""
    turns = sum(SHARE.own.values())
    found = measured()
    assert found.figure("cpu").value == pytest.approx((12 + 6 + 3) / turns * 1000)
    assert found.figure("store_ops").value == pytest.approx(900 / turns)
    assert found.figure("coordinator_busy").value == pytest.approx(20), "12 s of 60 s"
    nothing = measured(usage=Usage(60, {}, 0, {}))
    assert [nothing.figure(name).method for name in ("cpu", "coordinator_busy")] == ["", ""]
    assert nothing.figure("store_ops") == Figure(0, "per turn", method="counted")


def test_executions_are_counted() -> None:
    """How many keys were executed more than once, and the one that was most often."""
    found = measured(executions=Executions({1: 7, 2: 3, 5: 1}, unkeyed=2, moved=1))
    names = ("repeated_keys", "repeated_keys_moved", "executions_of_one_key", "unkeyed")
    assert [found.figure(name).value for name in names] == [4, 1, 5, 2]
    assert measured().figure("executions_of_one_key").value == 0
    assert measured().figure("steps_median").value == 1


def test_times_stand_beside_those_without_a_proxy() -> None:
    """As ratios, in pairs; where that was not replayed there is no ratio."""
    found = measured(base=times(1.6))
    assert found.figure("p50").value == 2.0
    assert found.figure("p99").value == 4.0
    assert found.figure("p50_ratio").value == pytest.approx(1.25)
    assert (found.figure("p95_ratio").low, found.figure("p95_ratio").high) == pytest.approx((1.25, 1.25))
    assert measured().figure("p50_ratio") == Figure(None, "ratio")


def test_what_the_proxy_adds_is_of_variants_that_have_one() -> None:
    """Where there is none it adds nothing; where the pair was not replayed nobody knows."""
    calm = Calm(times(1.0), times(1.05))
    assert measured(calm=calm).figure("added_median").value == pytest.approx(5)
    assert measured(proxy=False).figure("added_median") == Figure(0, "%", method="counted")
    assert measured().figure("added_median") == Figure(None, "%")


def test_figure_of_nothing_is_none() -> None:
    """Not 0: nothing was measured."""
    found = measured()
    assert all(found.figure(name).value is None and not found.figure(name).method for name in RATES)
    assert found.difference(found, "no_stall") == Figure(None, "%")


def test_every_known_figure_can_be_asked_for() -> None:
    """And comes in the unit that it is told in; an unknown one is an error."""
    found = measured()
    assert {name: found.figure(name).unit for name in KNOWN} == {name: unit for name, (unit, _) in KNOWN.items()}
    with pytest.raises(KeyError):
        found.figure("duplicate")
