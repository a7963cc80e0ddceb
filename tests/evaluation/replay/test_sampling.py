"""What a sample tells, against the full ledger."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import Literal

import pytest

from evaluation.replay.sampling import Estimate, estimate
from evaluation.tools.audit import Effect
from tests.evaluation.replay.audits import effect, identity

MEANT = Counter({identity(f"p{number}"): 1 for number in range(1_000)})


def audit(*, other_id: bool) -> list[Effect]:
    """Return an audit of a thousand effects, a tenth of which are there twice: under their own call, or another's."""
    effects = []
    for number, one in enumerate(MEANT):
        effects.append(effect(one, call=f"call_{number}"))
        if number % 10 == 0:
            effects.append(effect(one, call=f"call_{number}" + ("_again" if other_id else "")))
    return effects


def estimates(effects: list[Effect], by: Literal["call", "intent"]) -> list[Estimate]:
    """Return what samples of many seeds tell."""
    return [estimate(effects, MEANT, seed=seed, by=by) for seed in range(60)]


@pytest.mark.parametrize(("other_id", "by"), [(False, "call"), (True, "intent"), (False, "intent")])
def test_sample_that_has_both_halves_is_right_on_average(other_id: bool, by: Literal["call", "intent"]) -> None:
    """The errors of 60 samples cancel out, and are as large as the standard error says."""
    found = estimates(audit(other_id=other_id), by)
    assert {one.truth for one in found} == {100}
    told = statistics.fmean(one.standard_error for one in found)
    assert abs(statistics.fmean(one.error for one in found)) < 4 * told / math.sqrt(len(found))
    assert 0.7 * told < statistics.stdev(one.error for one in found) < 1.3 * told


def test_sample_of_calls_misses_duplicates_under_other_ids() -> None:
    """Both halves are in it with 0.3 * 0.3: it tells 30 of 100, and its standard error does not know."""
    found = estimates(audit(other_id=True), "call")
    assert 20 < statistics.fmean(one.estimate for one in found) < 40
    assert statistics.fmean(one.error for one in found) < -3 * statistics.fmean(one.standard_error for one in found)


def test_whole_ledger_is_right() -> None:
    """A share of 1 is no sample."""
    told = estimate(audit(other_id=True), MEANT, seed=1, share=1)
    assert told == Estimate(effects=1_100, found=100, estimate=100.0, standard_error=0.0, truth=100)
    assert told.error == 0


def test_order_of_the_audit_does_not_matter() -> None:
    """Which calls are drawn depends on their names."""
    effects = audit(other_id=True)
    assert estimate(effects[::-1], MEANT, seed=3) == estimate(effects, MEANT, seed=3)


@pytest.mark.parametrize("share", [0, 1.1, math.nan])
def test_share_that_is_none_is_refused(share: float) -> None:
    """A share is above 0 and at most 1."""
    with pytest.raises(ValueError, match="share"):
        estimate([], {}, seed=1, share=share)
