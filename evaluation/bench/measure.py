"""The measurements: which system meets which workload, in rounds, and one sample of each."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterator

import aiohttp
from msgspec import Struct

from evaluation.bench.closed_loop import ClosedLoop
from evaluation.bench.figures import Case, Sample, percentile
from evaluation.bench.load import Timings, WrongAnswer
from evaluation.bench.metrics import read_store_calls, round_trips
from evaluation.bench.open_loop import OpenLoop
from evaluation.bench.procfs import cpu_us
from evaluation.bench.shape import READ, Calls
from evaluation.bench.systems import BARE, NAMES, REDIS, SQLITE, Stand, System

NEW, REPLAY, JOIN, READS, PACED = "new key", "replay", "join", "read", "paced"
CONCURRENCIES = (1, 16)
GUARDED = (SQLITE, REDIS)

JOIN_WIDTH = 2
"""A join is half of a pair: each key is asked for twice at the same time."""

JOIN_DELAY_US = 5_000
"""The tool's latency under joins: without one, the second of a pair would sometimes find the first already answered."""

PACED_DELAY_US = 20_000
PACED_CONNECTIONS = 64
REPLAYED_KEYS = 256
WARM_UP_S = 0.3
WARM_UP_LIMIT_S = 30.0


class Effort(Struct, frozen=True):
    """How long is measured: rounds, seconds of a closed loop, seconds and rate a second of the open one."""

    rounds: int
    closed_s: float
    open_s: float
    rate: float


FULL = Effort(rounds=5, closed_s=1.5, open_s=4.0, rate=250.0)
QUICK = Effort(rounds=3, closed_s=0.3, open_s=1.2, rate=250.0)


def plan(systems: tuple[System, ...], number: int) -> list[tuple[System, Case]]:
    """Return what round `number` measures, in its order: by workload, the systems in turns, another one first each
    time."""
    turn = number % len(systems)
    turned = systems[turn:] + systems[:turn]
    cases: list[tuple[System, Case]] = []
    for workload, concurrencies, names in (
        (NEW, CONCURRENCIES, NAMES),
        (REPLAY, CONCURRENCIES, GUARDED),
        (JOIN, CONCURRENCIES, GUARDED),
        (READS, (16,), (BARE, *GUARDED)),
        (PACED, (0,), NAMES),
    ):
        for concurrency, system in itertools.product(concurrencies, turned):
            if system.name in names:
                cases.append((system, Case(system.name, workload, concurrency)))
    return cases


class Bench:
    """Puts one case after the other to the stand and keeps the samples."""

    def __init__(self, session: aiohttp.ClientSession, stand: Stand, effort: Effort) -> None:
        self._session = session
        self._stand = stand
        self._effort = effort
        self._runs = (f"run_{os.getpid():x}_{number}" for number in itertools.count())
        self._replayed: dict[str, Iterator[bytes]] = {}
        self.samples: list[Sample] = []

    async def run(self, say: Callable[[str], None]) -> None:
        """Measure every round. Raises `WrongAnswer`, `TimeoutError`, `ChildDied`'s kin when a system fails."""
        for system in self._stand.systems:
            say(f"warming up {system.name}")
            await self._warm_up(system)
        for number in range(self._effort.rounds):
            for system, case in plan(self._stand.systems, number):
                at = f" at {case.concurrency}" if case.concurrency else ""
                say(f"round {number + 1} of {self._effort.rounds}: {case.workload}{at}, {case.system}")
                self.samples.append(await self._measure(system, case, number))

    async def _warm_up(self, system: System) -> None:
        """Bring a system to its working state, and have the calls made that are to be replayed."""
        await self._set_delay(0)
        calls = Calls(next(self._runs))
        await self._closed(system, calls.new, 16, 1, WARM_UP_S)
        if system.name in GUARDED:
            requests = [calls.new() for _ in range(REPLAYED_KEYS)]
            pending = iter(requests)
            await self._closed(system, lambda: next(pending, None), 16, 1, WARM_UP_LIMIT_S)
            self._replayed[system.name] = itertools.cycle(requests)

    async def _measure(self, system: System, case: Case, number: int) -> Sample:
        await self._set_delay({JOIN: JOIN_DELAY_US, PACED: PACED_DELAY_US}.get(case.workload, 0))
        calls_before = await self._store_calls(system)
        executions_before = await self._executions()
        gc.collect()
        gc.disable()
        try:
            timings, server_us, store_us = await self._load(system, case)
        finally:
            gc.enable()
        requests = len(timings.latencies_s)
        self._check_executions(case, requests, await self._executions() - executions_before)
        calls_after = await self._store_calls(system)
        ordered = sorted(timings.latencies_s)
        return Sample(
            case=case,
            round=number,
            requests=requests,
            seconds=timings.seconds,
            p50_us=percentile(ordered, 0.50) * 1e6,
            p99_us=percentile(ordered, 0.99) * 1e6,
            server_cpu_us=server_us / requests if system.pids else None,
            store_cpu_us=store_us / requests if system.store_pids else None,
            busy=server_us / 1e6 / timings.seconds if system.pids else None,
            outcomes=timings.outcomes,
            store_calls=None if calls_after is None else round_trips(calls_before or {}, calls_after, requests),
        )

    async def _load(self, system: System, case: Case) -> tuple[Timings, float, float]:
        """Run the case's load; return its timings and the CPU time that server and store took for it."""
        calls = Calls(next(self._runs))
        if case.workload == PACED:
            return await self._open(system, calls.new)
        width = JOIN_WIDTH if case.workload == JOIN else 1
        status = 200 if case.workload == READS else 201
        next_request: Callable[[], bytes | None] = calls.new
        if case.workload == REPLAY:
            next_request = self._replayed[system.name].__next__
        elif case.workload == READS:
            next_request = itertools.repeat(READ).__next__
        return await self._closed(system, next_request, case.concurrency, width, self._effort.closed_s, status=status)

    async def _closed(
        self,
        system: System,
        next_request: Callable[[], bytes | None],
        groups: int,
        width: int,
        seconds: float,
        *,
        status: int = 201,
    ) -> tuple[Timings, float, float]:
        load = ClosedLoop(system.address, status)
        await load.connect(groups * width)
        try:
            server, store = cpu_us(system.pids), cpu_us(system.store_pids)
            timings = await load.run(next_request, groups, width, seconds)
            return timings, cpu_us(system.pids) - server, cpu_us(system.store_pids) - store
        finally:
            load.close()

    async def _open(self, system: System, request: Callable[[], bytes]) -> tuple[Timings, float, float]:
        load = OpenLoop(system.address)
        await load.connect(PACED_CONNECTIONS)
        try:
            server, store = cpu_us(system.pids), cpu_us(system.store_pids)
            timings = await load.run(request, self._effort.rate, int(self._effort.rate * self._effort.open_s))
            return timings, cpu_us(system.pids) - server, cpu_us(system.store_pids) - store
        finally:
            load.close()

    def _check_executions(self, case: Case, requests: int, executions: int) -> None:
        """A fast system that executed what it should not have, or did not what it should have, is not worth a
        figure."""
        expected = {REPLAY: 0, READS: 0, JOIN: requests // JOIN_WIDTH}.get(case.workload, requests)
        if executions != expected:
            raise WrongAnswer(f"{case}: {requests} requests made {executions} executions, not {expected}")

    async def _set_delay(self, microseconds: int) -> None:
        url = f"{self._stand.tool.url}/_bench/delay/{microseconds}"
        async with self._session.put(url, data=b"-", raise_for_status=True):
            pass

    async def _executions(self) -> int:
        async with self._session.get(f"{self._stand.tool.url}/_bench/executions", raise_for_status=True) as response:
            return int(await response.read())

    async def _store_calls(self, system: System) -> dict[str, float] | None:
        if system.health_url is None:
            return None
        return await read_store_calls(self._session, system.health_url)
