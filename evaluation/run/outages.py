"""Outages carried out: what `evaluation.replay.outages` has drawn, on the replay's clock, in a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from evaluation.replay.outages import Kind, Outage


class Fleet(Protocol):
    """Whose processes go."""

    async def take_down(self, kind: Kind, number: int, how: Literal["kill", "stop"]) -> bool:
        """Take a replica down, and wait until it is; say whether it was up."""

    async def bring_back(self, kind: Kind, number: int) -> None:
        """Start it again, and wait until it is ready."""


async def carry_out(
    fleet: Fleet, outages: Sequence[Outage], begun_at: float, pace: float, now: Callable[[], float]
) -> None:
    """Take down what goes at its time, divided by `pace` as all times of a trace are, and bring it back after as many
    seconds as it is down, which are real ones. What is down already is left alone. Returns when all are back."""
    async with asyncio.TaskGroup() as group:
        for outage in outages:
            if (wait_s := begun_at + outage.at / pace - now()) > 0:
                await asyncio.sleep(wait_s)
            group.create_task(_one(fleet, outage))


async def _one(fleet: Fleet, outage: Outage) -> None:
    """A coordinator goes before its sidecar and comes back after it, so that it has one for as long as it is there."""
    kinds: tuple[Kind, ...] = ("coordinator", "sidecar") if outage.who == "instance" else (outage.who,)
    gone = [kind for kind in kinds if await fleet.take_down(kind, outage.replica, outage.how)]
    if gone:
        await asyncio.sleep(outage.down_s)
    for kind in reversed(gone):
        await fleet.bring_back(kind, outage.replica)
