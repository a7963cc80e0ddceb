"""One variant replayed in one environment: from a folder that is not there to one that says `done`."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp
from msgspec import Struct

from evaluation.replay.outages import Outage, schedule
from evaluation.replay.records import Usage, mark_done, write_usage
from evaluation.replay.turns import Turn
from evaluation.run.balance import Balance
from evaluation.run.client import Client
from evaluation.run.fleet import Fleet
from evaluation.run.following import Following, Records
from evaluation.run.outages import carry_out
from evaluation.run.processes import System
from evaluation.run.sending import Sending

LEAD_S = 0.5
"""From when everything is ready to the first turn."""

TEND_S = 0.5
SETTLE_S = 60.0
"""For tools to finish what they were asked for: the slowest take a caller's limit and some."""

CONNECTIONS_MAX = 500


class Stage(Struct):
    """A fleet with all that sends turns to it and follows them."""

    fleet: Fleet
    following: Following
    sending: Sending
    began_cpu_s: dict[str, float]
    began_driver_s: float
    began_operations: int


async def replay(
    directory: Path, system: System, turns: Sequence[Turn], *, seed: int, limit_s: float, settled: Callable[[], None]
) -> None:
    """Replay turns against a system that is started for it and ended afterwards; leave the records in `directory`.
    `settled` is told of each turn that is over. Raises `ChildDied`, `OSError` and `aiohttp.ClientError`."""
    pace = system.pace
    async with staged(directory, system, turns, seed=seed, limit_s=limit_s, settled=settled) as stage:
        begun_at = time.time() + LEAD_S
        planned = _outages(system, seed, turns, {kind: len(stage.fleet.of(kind)) for kind in _KINDS})
        async with tended(stage):
            async with asyncio.TaskGroup() as group:
                group.create_task(carry_out(stage.fleet, planned, begun_at, pace, time.time))
                group.create_task(stage.sending.send(turns, begun_at, pace))
            await stage.following.until_all_is_over()
        await wound_up(directory, stage, time.time() - begun_at)


_KINDS = ("coordinator", "sidecar", "store")


def _outages(system: System, seed: int, turns: Sequence[Turn], replicas: dict[str, int]) -> tuple[Outage, ...]:
    seconds = turns[-1].at if turns else 0.0
    return schedule(system.faults.outages, seed, seconds, replicas)  # type: ignore[arg-type]  # the three kinds


@contextlib.asynccontextmanager
async def staged(
    directory: Path, system: System, turns: Sequence[Turn], *, seed: int, limit_s: float, settled: Callable[[], None]
) -> AsyncIterator[Stage]:
    """Start a system, with empty records in `directory`; end it on the way out, and remove what its processes kept,
    but for what they said."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)  # noqa: ASYNC240  # nobody else is on the loop yet
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
    async with aiohttp.ClientSession(connector=connector) as session, Fleet(session, directory, system) as fleet:
        names: dict[str, str] = {}
        for turn in turns:
            names.setdefault(turn.client_turn_id, turn.id)
        with Records(directory, names) as records:
            layout = fleet.layout
            following = Following(session, layout.api, records, limit_s, time.time, settled)
            balances = {region: Balance(urls) for region, urls in layout.instances.items()}
            sending = Sending(
                Client(session, balances, time.time), following, system.environment, turns, seed=seed,
                limit_s=limit_s, now=time.time,
            )  # fmt: skip
            operations = await fleet.store_operations()
            yield Stage(fleet, following, sending, fleet.cpu_s(), time.process_time(), operations)
    for kept in (directory / "work").glob("redis-*/"):
        shutil.rmtree(kept, ignore_errors=True)


@contextlib.asynccontextmanager
async def tended(stage: Stage) -> AsyncIterator[None]:
    """Follow the turns, and start again what dies by itself, meanwhile. An error of either ends the block."""
    async with asyncio.TaskGroup() as group:
        behind = [group.create_task(stage.following.follow()), group.create_task(_tend(stage.fleet))]
        yield
        for task in behind:
            task.cancel()


async def _tend(fleet: Fleet) -> None:
    while True:
        await fleet.tend()
        await asyncio.sleep(TEND_S)


async def wound_up(directory: Path, stage: Stage, seconds: float) -> None:
    """Wait until the tools have done what they were asked for, write down what is left to write, and the usage."""
    fleet = stage.fleet
    await fleet.settled(SETTLE_S)
    await stage.following.close()
    spent = fleet.cpu_s()
    cpu_s = {kind: round(spent[kind] - stage.began_cpu_s.get(kind, 0.0), 3) for kind in sorted(spent)}
    cpu_s["driver"] = round(time.process_time() - stage.began_driver_s, 3)
    operations = await fleet.store_operations() - stage.began_operations
    write_usage(directory, Usage(round(seconds, 3), cpu_s, operations, dict(fleet.outages), stage.sending.moved))
    mark_done(directory)
