"""What 30 % of the calls would tell of the duplicates: the seed's budget, held against the full ledger.

Only a part of the calls can go to tools that keep an audit. Which part matters: a duplicate under another id is another
*call*, so that a sample of calls has both halves of it only by chance, and what it finds is too little however it is
scaled. A sample of *intents* (everything that asks for the same effect goes the same way) has both halves or none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from evaluation.replay.truth import Effects, identity_of, observed, tally
from evaluation.replay.turns import Identity
from evaluation.scripts import chance
from evaluation.tools.asking import call_of
from evaluation.tools.audit import Effect

SHARE = 0.3
"""Of the calls, which the seed's budget lets reach real tools."""


class Estimate(Struct, frozen=True):
    """Duplicates as a sample tells them.

    effects         in the sample.
    found           duplicates in the sample.
    estimate        of the duplicates in all: those found, divided by the share.
    standard_error  of the estimate, as far as the sample's own chance goes: it knows nothing of missing halves.
    truth           duplicates in the full ledger.
    """

    effects: int
    found: int
    estimate: float
    standard_error: float
    truth: int

    @property
    def error(self) -> float:
        """Return by how many duplicates the estimate is off; below 0 it tells too few."""
        return self.estimate - self.truth


def estimate(
    effects: Iterable[Effect],
    meant: Effects,
    *,
    seed: int,
    by: Literal["call", "intent"] = "call",
    share: float = SHARE,
) -> Estimate:
    """Return what a random share of the calls, or of the intents, tells of the duplicates against what was meant.

    Each call is drawn by itself, from the seed and its name (see `asking.call_of`): all its attempts go the same way,
    in whatever order they come. The estimator is that of Horvitz and Thompson (1952), for independent draws.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share:g}: write a number above 0, 1 at most")
    effects = list(effects)
    drawn = [effect for effect in effects if chance(seed, "sampled", _unit(effect, by), 1) < share]
    extra = _duplicates(observed(drawn), meant)
    variance = sum(times**2 for times in extra.values()) * (1 - share) / share**2
    found = extra.total()
    return Estimate(len(drawn), found, found / share, math.sqrt(variance), tally(observed(effects), meant).duplicates)


def _unit(effect: Effect, by: Literal["call", "intent"]) -> str:
    if by == "intent":
        return "\n".join(identity_of(effect))
    return f"{effect.tenant}\n{call_of(effect, effect.key)}"


def _duplicates(found: Effects, meant: Effects) -> Counter[Identity]:
    return Counter({one: times - meant.get(one, 0) for one, times in found.items() if times > meant.get(one, 0)})
