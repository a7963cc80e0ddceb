"""The whole replay: each variant in each environment, one after the other, into one folder, gone on with if it was cut.

What is done is not done again; what was being done is begun anew. A folder belongs to one plan: under another one it
would hold answers to two questions.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import msgspec
from msgspec import Struct

from evaluation.replay import records
from evaluation.replay.plan import FaultsPlan
from evaluation.replay.records import PAIR, PLAN, Plan
from evaluation.replay.shares import shared_out
from evaluation.replay.trace import write_trace
from evaluation.replay.turns import Turn
from evaluation.replay.workload import WINDOW_S
from evaluation.run.calm import calmed, replay_pair
from evaluation.run.environments import ENVIRONMENTS
from evaluation.run.processes import System
from evaluation.run.replaying import replay
from evaluation.variants.table import by_name

LIMIT_S = 120.0
"""The seed's own: a run should be terminal after so long."""

PAIR_SHARE, PAIR_MIN = 0.05, 500
"""Of an environment's turns, for its latency pair."""

PAIR_PACE_SHARE = 0.5
"""The pair's pace, of the replay's: what is compared is what the proxy takes, not who waits longer for a busy core."""

PACKAGES = ("holdfast", "aiohttp", "uvloop", "redis", "msgspec")


class OtherPlan(ValueError):
    """A folder that belongs to another replay; the message names it, and what to do."""


class Progress(Struct, frozen=True):
    """How far a replay is: what is being replayed, turns over, and turns in all, of the whole matrix."""

    name: str
    over: int
    of: int


class Matrix:
    """What is to be replayed, in `directory`. `told` hears of progress; `launchers` start the `holdfast` of the
    variants that they name in place of the usual command."""

    def __init__(
        self, directory: Path, plan: Plan, shares: Mapping[str, Sequence[Turn]], faults: FaultsPlan,
        told: Callable[[Progress], None] = lambda _: None, launchers: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:  # fmt: skip
        self._directory = directory.absolute()  # the processes work in folders below
        self._plan = plan
        self._shares = shares
        self._faults = faults
        self._told = told
        self._launchers = launchers or {}
        self._over = 0

    async def run(self) -> None:
        """Replay what is not done yet. Raises `ChildDied`, `OSError` and `aiohttp.ClientError`."""
        try:
            for environment in self._plan.environments:
                await self._environment(environment, self._shares[environment])
        except BaseExceptionGroup as several:
            raise first_of(several) from several

    async def _environment(self, environment: str, turns: Sequence[Turn]) -> None:
        for variant in self._plan.variants:
            await self._variant(environment, variant, turns)
        if self._plan.pair_turns:
            await self._pair(environment, turns[: self._plan.pair_turns])

    async def _variant(self, environment: str, variant: str, turns: Sequence[Turn]) -> None:
        directory = self._directory / records.folder(environment, variant)
        if records.is_done(directory):
            self._tell(directory.name, len(turns))
            return
        plan, system = self._plan, self._system(environment, variant, self._faults, self._plan.pace)
        await replay(
            directory, system, turns, seed=plan.seed, limit_s=plan.limit_s,
            settled=lambda: self._tell(directory.name, 1),
        )  # fmt: skip

    async def _pair(self, environment: str, turns: Sequence[Turn]) -> None:
        folders = [self._directory / records.pair_folder(environment, variant) for variant in PAIR]
        name = f"{environment}, {' and '.join(PAIR)} without faults"
        if all(map(records.is_done, folders)):
            self._tell(name, len(turns) * len(PAIR))
            return
        faults, pace = calmed(self._faults), self._plan.pace * PAIR_PACE_SHARE
        systems = [
            (folder, self._system(environment, variant, faults, pace))
            for folder, variant in zip(folders, PAIR, strict=True)
        ]
        await replay_pair(
            systems, turns, seed=self._plan.seed, limit_s=self._plan.limit_s, settled=lambda: self._tell(name, 1)
        )

    def _system(self, environment: str, variant: str, faults: FaultsPlan, pace: float) -> System:
        return System(
            by_name(variant), ENVIRONMENTS[environment], faults, pace, WINDOW_S / pace,
            self._launchers.get(variant, ()),
        )  # fmt: skip

    def _tell(self, name: str, over: int) -> None:
        self._over += over
        plan = self._plan
        of = sum(plan.turns.values()) * len(plan.variants) + plan.pair_turns * len(plan.environments) * len(PAIR)
        self._told(Progress(name, self._over, of))


def make_plan(
    shares: Mapping[str, Sequence[Turn]], faults: FaultsPlan, *, seed: int, pace: float, variants: Sequence[str],
    pair: bool,
) -> Plan:  # fmt: skip
    """Return the plan of a replay of these turns, by environment, on this machine."""
    fewest = min(map(len, shares.values()))
    return Plan(
        turns={name: len(turns) for name, turns in shares.items()},
        seed=seed,
        trace=_digest(turn for turns in shares.values() for turn in turns),
        faults=_digest([faults]),
        pace=pace,
        window_s=WINDOW_S / pace,
        variants=tuple(variants),
        environments=tuple(shares),
        limit_s=LIMIT_S,
        pair_turns=min(fewest, max(PAIR_MIN, round(fewest * PAIR_SHARE))) if pair else 0,
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        machine={"system": platform.system(), "cores": str(os.cpu_count() or 1), "processor": _processor()},
    )


def enter(directory: Path, plan: Plan, shares: Mapping[str, Sequence[Turn]], *, resume: bool) -> None:
    """Take a folder for a plan: a new one, or with `resume` one that was begun under the very same plan.

    Raises `OtherPlan`, `BadLine` and `OSError`.
    """
    if (directory / PLAN).exists():
        if not resume:
            raise OtherPlan(f"{directory} holds a replay already: go on with it (--resume), or name another --out")
        _compare(directory, records.read_plan(directory), plan)
        return
    if directory.exists() and any(directory.iterdir()):
        raise OtherPlan(f"{directory} is no replay's folder, and not empty: name another --out")
    directory.mkdir(parents=True, exist_ok=True)
    for environment, turns in shares.items():
        write_trace(directory / records.turns_file(environment), turns)
    records.write_plan(directory, plan)


def first_of(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group of tasks; what died first is what the others died of."""
    first = several.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def shares_of(turns: Sequence[Turn], environments: Sequence[str]) -> dict[str, list[Turn]]:
    """Return each environment's turns. Raises `ValueError` where there are too few for all."""
    shares = shared_out(turns, environments)
    if not all(shares.values()):
        raise ValueError(f"{len(turns)} turns are too few for {len(environments)} environments")
    return shares


def _compare(directory: Path, there: Plan, asked: Plan) -> None:
    for name in Plan.__struct_fields__:
        was, is_now = getattr(there, name), getattr(asked, name)
        if name != "machine" and was != is_now:
            raise OtherPlan(
                f"{directory} was begun with {name} {was!r}, and this asks for {is_now!r}: ask for the same, "
                "or name another --out"
            )


def _digest(things: Iterator[Turn] | list[FaultsPlan]) -> str:
    digest = hashlib.sha256()
    for thing in things:
        digest.update(msgspec.json.encode(thing))
    return digest.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "a checkout"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
