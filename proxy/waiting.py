"""How long callers wait, and how many may: the bounds on whoever is held for somebody else's forward."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from msgspec import Struct

from policies.model import ToolPolicy
from proxy.arrival import Arrival
from proxy.joint import Joint

WAITERS_MAX = 10_000
"""Callers held in all; each costs a connection and some kilobytes."""

LOOK_S = 0.1
"""What every caller waits for the ledger's first word, however impatient: who asks with `wait=0` wants to know what is
known, and a claim that has not been answered yet is no answer."""


class Patience(Struct, frozen=True, gc=False):
    """Until when a caller waits, as moments of the loop's clock (seconds), counted from its arrival and nothing else.

    first   for a forward of its own; None to the end of it.
    joiner  for somebody else's.
    look    for what the ledger says.
    """

    first: float | None
    joiner: float
    look: float


def patience_of(arrival: Arrival, came: float) -> Patience:
    """Return how long the caller of `arrival` waits, which `came` at that moment of the loop's clock."""
    held_until = came + arrival.policy.timeouts.hold_ms / 1_000
    if arrival.patience_ms is None:
        return Patience(held_until if arrival.deferrable else None, held_until, came + LOOK_S)
    until = came + arrival.patience_ms / 1_000
    return Patience(until, min(until, held_until), came + LOOK_S)


class Room:
    """The callers that one process holds."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting = 0

    def is_full(self, joint: Joint, policy: ToolPolicy) -> bool:
        """Say whether one more may wait at `joint`."""
        return joint.held >= policy.limits.waiters_per_key or self.waiting >= WAITERS_MAX

    @contextlib.contextmanager
    def at(self, joint: Joint) -> Iterator[None]:
        """Be counted among those who wait at `joint`."""
        self.waiting += 1
        joint.held += 1
        try:
            yield
        finally:
            self.waiting -= 1
            joint.held -= 1
