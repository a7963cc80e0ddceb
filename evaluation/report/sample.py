"""What a sample of 30 % of the calls would have told: once, as a team would see it, and how far off it usually is."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from typing import Literal

from msgspec import Struct

from evaluation.replay.sampling import SHARE, estimate
from evaluation.replay.truth import Effects, identity_of, observed
from evaluation.replay.turns import Identity
from evaluation.tools.audit import Effect

DRAWS = 100


class SampleTold(Struct, frozen=True):
    """Duplicates as samples tell them.

    by              what is drawn: calls, as the seed's budget has it, or intents.
    estimate        of one sample; standard_error is that which the sample itself gives.
    truth           duplicates in the full ledger.
    bias            the mean error of 100 samples; below 0 they tell too few.
    rmse            the root of their mean squared error.
    """

    by: Literal["call", "intent"]
    share: float
    effects: int
    estimate: float
    standard_error: float
    truth: int
    bias: float
    rmse: float


def told_by_samples(effects: list[Effect], meant: Counter[Identity], seed: int) -> tuple[SampleTold, ...]:
    """Return what samples by call and by intent tell."""
    found = observed(effects)
    often = {identity: meant[identity] for identity, times in found.items() if times > meant[identity]}
    suspects = [effect for effect in effects if identity_of(effect) in often]
    return tuple(_told(effects, meant, suspects, often, seed, by) for by in ("call", "intent"))


def _told(
    effects: list[Effect],
    meant: Effects,
    suspects: list[Effect],
    often: Effects,
    seed: int,
    by: Literal["call", "intent"],
) -> SampleTold:
    """Draw once from all. Only of what is there too often can a sample find a duplicate: that alone is drawn again."""
    one = estimate(effects, meant, seed=seed, by=by)
    errors = [estimate(suspects, often, seed=seed + 1 + place, by=by).error for place in range(DRAWS)]
    return SampleTold(
        by=by,
        share=SHARE,
        effects=one.effects,
        estimate=one.estimate,
        standard_error=one.standard_error,
        truth=one.truth,
        bias=statistics.fmean(errors),
        rmse=math.sqrt(statistics.fmean(error**2 for error in errors)),
    )
