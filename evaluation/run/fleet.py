"""The processes of one variant in one environment, while it is replayed: taken down, brought back, and ended, all of
them, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal, Self

import aiohttp

from evaluation.address import Address, held_address
from evaluation.child import ChildDied, answers_200
from evaluation.replay.outages import Kind
from evaluation.run.processes import Layout, Process, System, lay_out
from evaluation.run.redis_figures import pongs, requests
from evaluation.run.replica import Replica

STAGES = {"store": 0, "api": 1, "tools": 1, "sidecar": 2, "coordinator": 3}
"""What must be ready before what; those of one stage start together."""

UNREAD = (OSError, EOFError, TimeoutError)


class Fleet:
    """To be entered, and left whatever happens. `directory` takes the records, and below `work` all else."""

    layout: Layout

    def __init__(self, session: aiohttp.ClientSession, directory: Path, system: System) -> None:
        self._session = session
        self._directory = directory
        self._system = system
        self._ending = contextlib.AsyncExitStack()
        self._replicas: list[Replica] = []
        self._stores: list[tuple[Replica, Address]] = []
        self._operations = 0
        self.outages: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        async with self._ending:
            self.layout = lay_out(self._system, self._directory / "work", self._address)
            for _, stage in groupby(sorted(self.layout.processes, key=_stage), key=_stage):
                await self._enter_all(list(stage))
            self._ending = self._ending.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._ending.aclose()

    def of(self, kind: str) -> list[Replica]:
        """Return the replicas of a kind, region by region."""
        return [replica for replica in self._replicas if replica.kind == kind]

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds of all processes so far, by kind."""
        spent: Counter[str] = Counter()
        for replica in self._replicas:
            spent[replica.kind] += replica.cpu_s  # type: ignore[assignment]  # a counter may count fractions
        return dict(spent)

    async def store_operations(self) -> int:
        """Return how many requests the stores have read so far; see `redis_figures`."""
        found = self._operations
        for replica, address in self._stores:
            if replica.up:
                with contextlib.suppress(*UNREAD):
                    found += await requests(address)
        return found

    async def settled(self, within_s: float) -> None:
        """Wait until the tools have done what they were asked for, or time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._session.get(
                f"{self.layout.tools}/_tools/audit?settled=true&limit=0", raise_for_status=True
            ) as answer:  # fmt: skip
                await answer.read()

    async def take_down(self, kind: Kind, number: int, how: Literal["kill", "stop"]) -> bool:
        """Take a replica down, and wait until it is; say whether there is one that was up."""
        replicas = self.of(kind)
        if number >= len(replicas) or not (replica := replicas[number]).up:
            return False
        if kind == "store":  # it counts anew when it is back
            with contextlib.suppress(*UNREAD):
                self._operations += await requests(self._stores[number][1])
        self.outages[kind] += 1
        await replica.go(how)
        return True

    async def bring_back(self, kind: Kind, number: int) -> None:
        """Start a replica again. Raises `ChildDied`."""
        await self.of(kind)[number].insist()

    async def tend(self) -> None:
        """Start again what has died by itself, as a supervisor does, and count it; of the simulators and the stores it
        is an error. Raises `ChildDied`."""
        for replica in self._replicas:
            if (death := replica.death()) is None:
                continue
            if replica.kind not in {"coordinator", "sidecar"}:
                raise ChildDied(death)
            self.outages[f"{replica.kind} died by itself"] += 1
            replica.kill()
            await replica.insist()

    async def _enter_all(self, stage: Sequence[Process]) -> None:
        try:
            async with asyncio.TaskGroup() as starting:
                for process in stage:
                    starting.create_task(self._enter(process))
        except* ChildDied as died:
            raise ChildDied(str(died.exceptions[0])) from died.exceptions[0]

    async def _enter(self, process: Process) -> None:
        if process.at:
            ready = functools.partial(answers_200, self._session, process.address.url + process.at)
        else:
            ready = functools.partial(pongs, process.address)
        replica = Replica(process.kind, process.name, process.command, self._directory / "work", ready)
        self._ending.callback(replica.kill)
        self._replicas.append(replica)
        if process.kind == "store":
            self._stores.append((replica, process.address))
        await replica.start()

    def _address(self) -> Address:
        return self._ending.enter_context(held_address())


def _stage(process: Process) -> int:
    return STAGES[process.kind]
