"""When our own processes are killed or restarted during a replay: a schedule, drawn from the seed before it begins.

Times are seconds of the replay's own clock. The kills of each kind come at random and independently (exponential
times between them), and so do the beginnings of bursts. A longer replay's schedule begins with that of a shorter one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Literal

from msgspec import Struct

from evaluation.scripts import Range, chance

HOUR_S = 3600

Kind = Literal["coordinator", "sidecar", "store"]
Who = Literal[Kind, "instance"]
"""What goes; an instance is a coordinator and the sidecar of the same number, if it has one."""


def _check(per_hour: float, name: str, down: Range) -> None:
    if not 0 <= per_hour < math.inf:
        raise ValueError(f"{name} is {per_hour:g}: write a number, 0 or more")
    if down.low < 0:
        raise ValueError(f"down is [{down.low:g}, {down.high:g}]: nothing is down for less than 0 seconds")


class Killed(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How often one replica of a kind, any of them, is killed (SIGKILL), and for how many seconds it is down."""

    kills_per_hour: float = 0
    down: Range = Range(0.5, 3)

    def __post_init__(self) -> None:
        _check(self.kills_per_hour, "killsPerHour", self.down)


class Restarted(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How often the store is restarted, and for how many seconds it is down."""

    restarts_per_hour: float = 0
    down: Range = Range(0.5, 2)

    def __post_init__(self) -> None:
        _check(self.restarts_per_hour, "restartsPerHour", self.down)


class Bursts(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How often instances restart together (SIGTERM; the sidecar once its coordinator is gone, as in a pod): a share
    of them, one at least, `within` so many seconds from the burst's beginning, each down for as long as `down` says."""

    per_hour: float = 0
    within: float = 15
    share: float = 0.5
    down: Range = Range(0.5, 3)

    def __post_init__(self) -> None:
        _check(self.per_hour, "perHour", self.down)
        if not (0 < self.share <= 1 and 0 <= self.within < math.inf):
            raise ValueError("share is above 0 and at most 1, and within is no less than 0")


class Outages(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of our processes, by kind."""

    coordinator: Killed = Killed()
    sidecar: Killed = Killed()
    store: Restarted = Restarted()
    bursts: Bursts = Bursts()


class Outage(Struct, frozen=True, order=True):
    """One replica (counted from 0) of `who` goes at `at` and is started again `down_s` later. `how` it goes: `kill` is
    SIGKILL, `stop` is SIGTERM, with whatever time it takes for that before it is down."""

    at: float
    who: Who
    replica: int
    down_s: float
    how: Literal["kill", "stop"]


def schedule(outages: Outages, seed: int, seconds: float, replicas: Mapping[Kind, int]) -> tuple[Outage, ...]:
    """Return what happens in the first `seconds` of a replay with so many replicas of each kind, in order of time.

    Nothing is killed that is down: an outage that begins before the same replica's last one is over is left out.
    """
    drawn = [
        *_kills("coordinator", outages.coordinator, seed, seconds, replicas.get("coordinator", 0)),
        *_kills("sidecar", outages.sidecar, seed, seconds, replicas.get("sidecar", 0)),
        *_restarts(outages.store, seed, seconds, replicas.get("store", 0)),
        *_bursts(outages.bursts, seed, seconds, replicas.get("coordinator", 0)),
    ]
    up_at: dict[tuple[Who, int], float] = {}
    kept = []
    for outage in sorted(drawn):
        which = outage.who, outage.replica
        if outage.at >= up_at.get(which, 0):
            up_at[which] = outage.at + outage.down_s
            kept.append(outage)
    return tuple(kept)


def _kills(kind: Kind, told: Killed, seed: int, seconds: float, replicas: int) -> Iterator[Outage]:
    for number, at in enumerate(_times(f"{kind} kill", told.kills_per_hour, seed, seconds) if replicas else ()):
        down_s = told.down.at(chance(seed, "down", f"{kind} kill", number))
        yield Outage(at, kind, int(chance(seed, "which", kind, number) * replicas), down_s, "kill")


def _restarts(told: Restarted, seed: int, seconds: float, replicas: int) -> Iterator[Outage]:
    for number, at in enumerate(_times("store restart", told.restarts_per_hour, seed, seconds) if replicas else ()):
        down_s = told.down.at(chance(seed, "down", "store restart", number))
        yield Outage(at, "store", int(chance(seed, "which", "store", number) * replicas), down_s, "stop")


def _bursts(told: Bursts, seed: int, seconds: float, instances: int) -> Iterator[Outage]:
    for number, begun in enumerate(_times("burst", told.per_hour, seed, seconds) if instances else ()):
        shuffled = sorted(range(instances), key=lambda instance: chance(seed, "order", f"burst {instance}", number))
        for instance in shuffled[: math.ceil(instances * told.share)]:
            at = begun + told.within * chance(seed, "place", f"burst {instance}", number)
            if at < seconds:
                down_s = told.down.at(chance(seed, "down", f"burst {instance}", number))
                yield Outage(at, "instance", instance, down_s, "stop")


def _times(name: str, per_hour: float, seed: int, seconds: float) -> Iterator[float]:
    """Yield when something happens that happens so often, at random, until time is over."""
    at = 0.0
    for number in count() if per_hour else ():
        at -= math.log(1 - chance(seed, "next", name, number)) * HOUR_S / per_hour
        if at >= seconds:
            return
        yield at
