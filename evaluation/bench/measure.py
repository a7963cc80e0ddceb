"""The measurements: one sample of each case, in rounds."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterator

import aiohttp
from msgspec import Struct

from evaluation.bench import workloads
from evaluation.bench.closed_loop import ClosedLoop
from evaluation.bench.figures import Case, Sample, percentile
from evaluation.bench.load import Timings, WrongAnswer
from evaluation.bench.metrics import read_store_calls, round_trips
from evaluation.bench.open_loop import OpenLoop
from evaluation.bench.shape import READ, Calls
from evaluation.bench.systems import Stand, System
from evaluation.bench.workloads import GUARDED, JOIN_WIDTH, RESTARTED, Effort, delay_us, executions_due, plan
from evaluation.procfs import core_us, cpu_us

PACED_CONNECTIONS = 64
REPLAYED_KEYS = 256
WARM_UP_S = 0.3

ALL_S = 60.0
"""How long a given number of requests may take; they end the load, not this."""


class Taken(Struct, frozen=True):
    """What a load took: its timings, and CPU times meanwhile: the server's, the store's, everybody's on the core."""

    timings: Timings
    server_us: float
    store_us: float
    core_us: float


class Meter:
    """Reads the CPU times that a load takes."""

    def __init__(self, system: System, core: int) -> None:
        self._system = system
        self._core = core
        self._before = self._read()

    def taken(self, timings: Timings) -> Taken:
        """Return what has been taken since this meter was made."""
        return Taken(timings, *(now - before for now, before in zip(self._read(), self._before, strict=True)))

    def _read(self) -> tuple[float, float, float]:
        return cpu_us(self._system.pids), cpu_us(self._system.store_pids), core_us(self._core)


class Bench:
    """Puts one case after the other to the stand and keeps the samples."""

    def __init__(self, session: aiohttp.ClientSession, stand: Stand, effort: Effort) -> None:
        self._session = session
        self._stand = stand
        self._effort = effort
        self._runs = (f"run_{os.getpid():x}_{number}" for number in itertools.count())
        self._replayed: dict[str, Iterator[bytes]] = {}
        self.samples: list[Sample] = []

    async def run(self, number: int, say: Callable[[str], None]) -> None:
        """Measure round `number`. Raises `WrongAnswer`, `TimeoutError`, `aiohttp.ClientError` when a system fails."""
        for system, case in plan(self._stand.systems, number):
            at = f" at {case.concurrency}" if case.concurrency else ""
            say(f"round {number + 1}: {case.workload}{at}, {case.system}")
            self.samples.append(await self._measure(system, case, number))

    async def warm_up(self, system: System) -> None:
        """Bring a system to its working state, and have the calls made that are to be replayed."""
        await self._set_delay(0)
        await self._closed(system, Calls(next(self._runs)).new, 16, 1, WARM_UP_S)
        if system.name in GUARDED:
            self._replayed[system.name] = itertools.cycle(await self.execute(system, REPLAYED_KEYS))

    async def execute(self, system: System, count: int) -> list[bytes]:
        """Have `count` new calls made, and return their requests. Raises `WrongAnswer`, `TimeoutError`."""
        calls = Calls(next(self._runs))
        requests = [calls.new() for _ in range(count)]
        await self._ask_all(system, requests)
        return requests

    async def replay_restarted(self, system: System, requests: list[bytes], number: int) -> None:
        """Measure a freshly started system that is asked for what its predecessor executed, each request once.

        The first tenth goes unmeasured: a process opens connections and builds caches once. Raises as `run`.
        """
        tenth = len(requests) // 10
        await self._ask_all(system, requests[:tenth])
        pending = iter(requests[tenth:])
        case = Case(system.name, RESTARTED, 16)
        self.samples.append(await self._measure(system, case, number, lambda: next(pending, None)))

    async def _ask_all(self, system: System, requests: list[bytes]) -> None:
        await self._set_delay(0)
        pending = iter(requests)
        await self._closed(system, lambda: next(pending, None), 16, 1, ALL_S)

    async def _measure(
        self, system: System, case: Case, number: int, given: Callable[[], bytes | None] | None = None
    ) -> Sample:
        await self._set_delay(delay_us(case.workload))
        calls_before = await self._store_calls(system)
        executions_before = await self._executions()
        gc.collect()
        gc.disable()
        try:
            taken = await self._load(system, case, given)
        finally:
            gc.enable()
        timings = taken.timings
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
            server_cpu_us=taken.server_us / requests if system.pids else None,
            store_cpu_us=taken.store_us / requests if system.store_pids else None,
            busy=taken.server_us / 1e6 / timings.seconds if system.pids else None,
            foreign=self._foreign(taken),
            outcomes=timings.outcomes,
            store_calls=None if calls_after is None else round_trips(calls_before or {}, calls_after, requests),
        )

    async def _load(self, system: System, case: Case, given: Callable[[], bytes | None] | None) -> Taken:
        """Run the case's load; return its timings and the CPU time that server and store took for it."""
        calls = Calls(next(self._runs))
        seconds = self._effort.closed_s
        match case.workload:
            case workloads.PACED:
                return await self._open(system, calls.new)
            case workloads.JOIN:
                return await self._closed(system, calls.new, case.concurrency, JOIN_WIDTH, seconds)
            case workloads.READS:
                return await self._closed(system, lambda: READ, case.concurrency, 1, seconds, status=200)
            case workloads.REPLAY:
                return await self._closed(system, self._replayed[system.name].__next__, case.concurrency, 1, seconds)
            case _:
                return await self._closed(system, given or calls.new, case.concurrency, 1, ALL_S if given else seconds)

    async def _closed(
        self,
        system: System,
        next_request: Callable[[], bytes | None],
        groups: int,
        width: int,
        seconds: float,
        *,
        status: int = 201,
    ) -> Taken:
        load = ClosedLoop(system.address, status)
        await load.connect(groups * width)
        try:
            meter = Meter(system, self._stand.cores.server)
            return meter.taken(await load.run(next_request, groups, width, seconds))
        finally:
            load.close()

    async def _open(self, system: System, request: Callable[[], bytes]) -> Taken:
        load = OpenLoop(system.address)
        await load.connect(PACED_CONNECTIONS)
        try:
            meter = Meter(system, self._stand.cores.server)
            return meter.taken(await load.run(request, self._effort.rate, int(self._effort.rate * self._effort.open_s)))
        finally:
            load.close()

    def _foreign(self, taken: Taken) -> float | None:
        """Return the others' share of the server's core; unknown where the load itself runs there."""
        if self._stand.cores.server == self._stand.cores.other:
            return None
        return max(taken.core_us - taken.server_us, 0.0) / 1e6 / taken.timings.seconds

    def _check_executions(self, case: Case, requests: int, executions: int) -> None:
        """Raise `WrongAnswer`: a fast system that executed what it should not have is not worth a figure."""
        if executions != (due := executions_due(case.workload, requests)):
            raise WrongAnswer(f"{case}: {requests} requests made {executions} executions, not {due}")

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
