"""How a mechanism is weighed: evidence for and against, each with its lines, and the verdict that follows.

A verdict is never better than how its lines were joined. What rests on time alone is `likely` at best, however
striking; `shown` needs a line that names the call, the request or the effect.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from evaluation.triage.event import Event

Join = Literal["ids", "time", "absence"]
Verdict = Literal["shown", "likely", "possible", "not excluded", "ruled out"]
Role = Literal["cause", "guard"]

VERDICTS: tuple[Verdict, ...] = ("shown", "likely", "possible", "not excluded", "ruled out")

DECISIVE, STRONG, WEAK = 3, 2, 1
"""Decisive: the line says it. Strong: hard to explain otherwise. Weak: fits, and so would much else."""


class Evidence(Struct, frozen=True):
    """One observation: a sentence, how much it weighs, how its lines were joined to the call, and the lines."""

    says: str
    weight: int
    by: Join = "ids"
    lines: tuple[tuple[int, int], ...] = ()


class Weighed(Struct, frozen=True, kw_only=True):
    """One mechanism, weighed. `role` says whether it is why the call was made again (`cause`) or why nothing stopped
    that (`guard`); `settle` is what would decide it where the lines do not."""

    mechanism: str
    title: str
    role: Role
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    against: tuple[Evidence, ...]
    settle: str

    @property
    def score(self) -> int:
        """Return how much more speaks for it than against it."""
        return sum(one.weight for one in self.evidence) - sum(one.weight for one in self.against)


def places(events: Iterable[Event]) -> tuple[tuple[int, int], ...]:
    """Return where events stand."""
    return tuple((event.file, event.line) for event in events)


def verdict(evidence: Iterable[Evidence], against: Iterable[Evidence]) -> Verdict:
    """Return what the evidence amounts to."""
    evidence, against = tuple(evidence), tuple(against)
    decided = any(one.weight >= DECISIVE and one.by == "ids" for one in evidence)
    left = sum(one.weight for one in evidence) - sum(one.weight for one in against)
    if left <= 0 and any(one.weight >= DECISIVE and one.by == "ids" for one in against):
        return "ruled out"
    if decided and left > 0:
        return "shown"
    if left >= STRONG and max((one.weight for one in evidence), default=0) >= STRONG:
        return "likely"
    return "possible" if evidence else "not excluded"


def ranked(weighed: Iterable[Weighed]) -> tuple[Weighed, ...]:
    """Return mechanisms with the best supported first; equal ones stay in the order in which they are asked."""
    return tuple(sorted(weighed, key=lambda one: (VERDICTS.index(one.verdict), -one.score)))


def seconds(ms: int) -> str:
    """Return a duration for people: `13 ms`, `7.889 s`, `25 min`."""
    if abs(ms) < 1_000:
        return f"{ms} ms"
    return f"{ms / 1_000:.3f} s" if abs(ms) < 120_000 else f"{ms / 60_000:.0f} min"
