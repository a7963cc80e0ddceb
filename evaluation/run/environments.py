"""Where variants are replayed, and what is promised of a run that moves between regions. Pure.

| a turn that is sent again to another region | what is promised |
|---|---|
| A, B | nothing: memories and stores end at the region, so it is started twice; its writes run twice |
| C | the same: it is another run there, with calls of its own; each of them runs once |
| D, E | the same: effect keys are kept in the region's ledger, which knows nothing of the other's |

A tool call is executed once for each region that asks for it. Whoever needs more keeps each user's turns in one region,
or one store for all regions (`docs/topologies.md`).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from evaluation.replay.outages import Kind
from evaluation.replay.turns import Turn
from evaluation.scripts import Range, chance


class Environment(Struct, frozen=True):
    """One way to run a system.

    regions    each with a Redis of its own; the API and the tools are in the first.
    instances  of the coordinator in each region, with a sidecar each where the variant has any.
    away_s     how long each way takes from the other regions to the first.
    moved      the share of turns that their client sends again to another region, `after` so many seconds, as when its
               first request's answer is lost with its region. Each user has a region to begin with.
    """

    name: str
    sentence: str
    regions: tuple[str, ...]
    instances: int
    away_s: float = 0.0
    moved: float = 0.0
    after: Range = Range(0.5, 2)

    def replicas(self) -> Mapping[Kind, int]:
        """Return how many replicas there are of each kind; they are counted region by region."""
        instances = self.instances * len(self.regions)
        return {"coordinator": instances, "sidecar": instances, "store": len(self.regions)}

    def region_of(self, turn: Turn) -> str:
        """Return the region in which a turn's user begins."""
        return self.regions[int(chance(0, "region", f"{turn.tenant}/{turn.user}", 1) * len(self.regions))]

    def moved_to(self, turn: Turn, seed: int) -> tuple[str, float] | None:
        """Return to which other region a turn is sent again, and after how many seconds; None where it is not."""
        if len(self.regions) < 2 or chance(seed, "moved", turn.id, 1) >= self.moved:
            return None
        others = [region for region in self.regions if region != self.region_of(turn)]
        other = others[int(chance(seed, "moved to", turn.id, 1) * len(others))]
        return other, self.after.at(chance(seed, "moved after", turn.id, 1))


STAGING = Environment("staging", "one region: 3 instances, one Redis", ("north",), 3)
PRE_PROD = Environment(
    "pre-prod",
    "two regions, active/active: 2 instances and a Redis in each, 30 ms each way to the other; 1 % of turns move",
    ("north", "south"),
    2,
    away_s=0.03,
    moved=0.01,
)
ENVIRONMENTS = {environment.name: environment for environment in (STAGING, PRE_PROD)}
