"""Outages are carried out on the replay's clock, and what went comes back."""

from __future__ import annotations

import time
from typing import Literal

from evaluation.replay.outages import Kind, Outage
from evaluation.run.outages import carry_out


class Seen:
    """A fleet that notes what is done to it; of `down` nothing goes any more."""

    def __init__(self, *down: tuple[str, int]) -> None:
        self.down = set(down)
        self.seen: list[tuple[str, str, int]] = []
        self.times: list[float] = []

    async def take_down(self, kind: Kind, number: int, how: Literal["kill", "stop"]) -> bool:
        """Note it."""
        if (kind, number) in self.down:
            return False
        self.seen.append((how, kind, number))
        self.times.append(time.time())
        return True

    async def bring_back(self, kind: Kind, number: int) -> None:
        """Note it."""
        self.seen.append(("back", kind, number))


async def test_outages_come_at_their_times_and_end() -> None:
    """Divided by the pace, as all times of a trace; each comes back before the carrying out is over."""
    fleet, begun_at = Seen(), time.time()
    outages = [Outage(2, "coordinator", 1, 0.0, "kill"), Outage(4, "store", 0, 0.0, "stop")]
    await carry_out(fleet, outages, begun_at, 20, time.time)
    assert fleet.seen == [
        ("kill", "coordinator", 1), ("back", "coordinator", 1), ("stop", "store", 0), ("back", "store", 0),
    ]  # fmt: skip
    rounded = 0.05  # a loop's timers may be a little early, and are not the clock that is asked
    assert fleet.times[0] >= begun_at + 0.1 - rounded
    assert fleet.times[1] >= begun_at + 0.2 - rounded


async def test_what_is_down_is_left_alone() -> None:
    """Whoever took it down brings it back."""
    fleet = Seen(("sidecar", 0))
    await carry_out(fleet, [Outage(0, "sidecar", 0, 0.0, "kill")], time.time(), 1, time.time)
    assert fleet.seen == []


async def test_coordinator_of_an_instance_goes_before_its_sidecar_and_comes_back_after_it() -> None:
    """As in a Kubernetes pod: what a coordinator has begun it can end. An instance without a sidecar goes as it is."""
    fleet = Seen()
    await carry_out(fleet, [Outage(0, "instance", 2, 0.0, "stop")], time.time(), 1, time.time)
    assert fleet.seen == [
        ("stop", "coordinator", 2), ("stop", "sidecar", 2), ("back", "sidecar", 2), ("back", "coordinator", 2),
    ]  # fmt: skip
    alone = Seen(("sidecar", 2))
    await carry_out(alone, [Outage(0, "instance", 2, 0.0, "stop")], time.time(), 1, time.time)
    assert alone.seen == [("stop", "coordinator", 2), ("back", "coordinator", 2)]
