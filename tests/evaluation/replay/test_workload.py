"""The workload: repeatable, as it says in its shape, and honest about what is meant."""

from __future__ import annotations

import hashlib
import math
import re
import statistics
from collections import Counter
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.replay.truth import intended, planned
from evaluation.replay.turns import Turn
from evaluation.replay.workload import WINDOW_S, Shape, conversation, workload
from evaluation.scripts import Range
from tests.tracked import ROOT

TURNS = 6_000


@cache
def drawn(seed: int = 1) -> list[Turn]:
    """Return a workload, made once for all tests."""
    return workload(Shape(seed=seed), TURNS)


def near(found: int, of: int, rate: float) -> bool:
    """Say whether a count is within 5 standard deviations of what a rate makes expect."""
    return abs(found - of * rate) <= 5 * math.sqrt(of * rate * (1 - rate))


def test_calls_of_a_turn_are_none_to_four_with_median_one() -> None:
    """And each number is as frequent as the shape says."""
    calls = Counter(sum(1 for _ in turn.calls()) for turn in drawn())
    assert set(calls) == {0, 1, 2, 3, 4}
    assert statistics.median(calls.elements()) == 1
    assert all(near(calls[number], TURNS, share) for number, share in enumerate(Shape().calls))


def test_writes_are_45_percent_of_the_calls() -> None:
    """The rest reads."""
    effects = Counter(call.effect for turn in drawn() for call in turn.calls())
    assert near(effects["write"], effects.total(), 0.45)


def test_calls_come_at_once_and_one_after_the_other() -> None:
    """Of the calls that have another before them, some wait for it and some do not."""
    later = sum(max(sum(1 for _ in turn.calls()) - 1, 0) for turn in drawn())
    assert near(sum(max(len(turn.steps) - 1, 0) for turn in drawn()), later, Shape().new_step)


def test_turns_are_repeated_as_often_as_the_shape_says() -> None:
    """By accident or meant, each at its rate of the turns that are no repeats."""
    turns = drawn()
    kinds = Counter(turn.repeat.kind for turn in turns if turn.repeat)
    said = TURNS - kinds.total()
    assert near(kinds["resent"], said, 0.01)
    assert near(kinds["said-again"], said, 0.01)
    assert near(kinds["meant-again"], said, 0.02)


def test_repeat_says_what_its_turn_said_and_means_it_again_or_not() -> None:
    """An accident comes within seconds and means nothing new, a resent one under the same client's id; what is meant
    again means the very same effects again, inside the seed's window or outside."""
    by_id = {turn.id: turn for turn in drawn()}
    gaps = {"inside": 0, "outside": 0}
    for turn in (turn for turn in drawn() if turn.repeat):
        assert turn.repeat
        first = by_id[turn.repeat.of]
        gap = turn.at - first.at
        assert (turn.planned(), turn.user) == (first.planned(), first.user)
        assert (turn.client_turn_id == first.client_turn_id) is (turn.repeat.kind == "resent")
        if turn.repeat.kind == "meant-again":
            gaps["inside" if gap < WINDOW_S else "outside"] += 1
            assert turn.intended() == first.intended() == first.planned()
        else:
            assert 0 < gap < 10
            assert turn.intended() == ()
    assert min(gaps.values()) > 0


def test_intents_have_payloads_of_their_own() -> None:
    """An effect that is meant more than once is one that a turn means again: nothing is the same by chance."""
    meant = Counter(effect for turn in drawn() for effect in turn.intended())
    again = {effect for turn in drawn() if turn.repeat for effect in turn.intended()}
    assert {effect for effect, times in meant.items() if times > 1} == again


def test_turns_come_in_time_from_many_users_and_tenants() -> None:
    """They are in the order in which they are said, with none left out; every tenant has some, the first one most."""
    turns = drawn()
    assert [turn.at for turn in turns] == sorted(turn.at for turn in turns)
    assert len({turn.id for turn in turns}) == TURNS
    assert Counter(turn.tenant for turn in turns).most_common(1)[0][0] == "t00"
    assert len({turn.tenant for turn in turns}) == Shape().tenants
    assert len({turn.user for turn in turns}) > 500
    early = [turn.id for number in range(60) for turn in conversation(Shape(seed=1), number) if turn.at < 10]
    assert {turn.id for turn in turns if turn.at < 10} == set(early)


@given(seed=st.integers(0, 2**32), numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_conversation_is_the_same_in_whatever_order_it_is_made(seed: int, numbers: list[int]) -> None:
    """A conversation depends on the seed and on its number alone."""
    shape = Shape(seed=seed)
    forth = {number: list(conversation(shape, number)) for number in numbers}
    back = {number: list(conversation(shape, number)) for number in reversed(numbers)}
    assert forth == back


def test_short_workload_is_the_beginning_of_a_long_one() -> None:
    """More turns are later ones; another seed makes other ones."""
    assert workload(Shape(seed=1), 500) == drawn()[:500]
    assert {turn.planned() for turn in drawn(2)[:100]} != {turn.planned() for turn in drawn()[:100]}


def test_workload_of_a_seed_is_the_one_it_was_last_year() -> None:
    """A published figure names its seed: what the seed makes does not change unnoticed."""
    told = msgspec.json.encode(workload(Shape(seed=7), 100))
    assert hashlib.sha256(told).hexdigest()[:16] == "b4190b01cd996f7f"


def test_published_workload_is_as_its_page_says() -> None:
    """The page's counts are those of 50,000 turns."""
    turns = workload(Shape(seed=1), 50_000)
    counts = (
        sum(1 for turn in turns for _ in turn.calls()),
        len({turn.thread for turn in turns}),
        planned(turns).total(),
        intended(turns).total(),
    )
    told = re.search(
        r"of seed 1 have ([\d,]+) calls in\s([\d,]+) threads, and ([\d,]+) planned writes, of which ([\d,]+) are",
        (ROOT / "docs/evaluation.md").read_text(),
    )
    assert told
    assert tuple(int(count.replace(",", "")) for count in told.groups()) == counts


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"calls": (0.5, 0.4)}, "calls"),
        ({"intents": (1.5, -0.5)}, "intents"),
        ({"resent": 0.9, "said_again": 0.2}, "repeats"),
        ({"writes": 1.1}, "writes"),
        ({"tenants": 0}, "tenants"),
        ({"soon": (-1, 2)}, "time"),
    ],
)
def test_shape_that_cannot_be_is_refused(wrong: dict[str, Any], told: str) -> None:
    """Likelihoods sum to 1, shares are shares, and nothing happens before its cause."""
    fields: dict[str, Any] = {name: Range(*value) if name == "soon" else value for name, value in wrong.items()}
    with pytest.raises(ValueError, match=told):
        Shape(**fields)
