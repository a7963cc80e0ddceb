"""Environments: how many replicas, where users are, and whose turns move."""

from __future__ import annotations

import math

from evaluation.replay.workload import Shape, workload
from evaluation.run.environments import ENVIRONMENTS, PRE_PROD, STAGING

TURNS = workload(Shape(seed=1), 4_000)


def test_replicas_are_counted_over_all_regions() -> None:
    """A store for each region, a sidecar for each instance."""
    assert STAGING.replicas() == {"coordinator": 3, "sidecar": 3, "store": 1}
    assert PRE_PROD.replicas() == {"coordinator": 4, "sidecar": 4, "store": 2}
    assert set(ENVIRONMENTS) == {"staging", "pre-prod"}


def test_user_has_a_region_to_begin_with() -> None:
    """All turns of a user begin in the same one, and each region has its share of them."""
    where = {(turn.user, PRE_PROD.region_of(turn)) for turn in TURNS}
    assert len(where) == len({user for user, _ in where})
    assert 0.4 < sum(PRE_PROD.region_of(turn) == "north" for turn in TURNS) / len(TURNS) < 0.6


def test_turns_move_to_another_region_at_their_rate() -> None:
    """The seed decides which; where there is one region, none does."""
    moved = {turn.id: moving for turn in TURNS if (moving := PRE_PROD.moved_to(turn, 1))}
    of = len(TURNS)
    assert abs(len(moved) - of * PRE_PROD.moved) < 5 * math.sqrt(of * PRE_PROD.moved)
    for turn in TURNS:
        if turn.id in moved:
            other, after_s = moved[turn.id]
            assert other != PRE_PROD.region_of(turn)
            assert PRE_PROD.after.low <= after_s <= PRE_PROD.after.high
    assert moved.keys() != {turn.id for turn in TURNS if PRE_PROD.moved_to(turn, 2)}
    assert not any(STAGING.moved_to(turn, 1) for turn in TURNS)
