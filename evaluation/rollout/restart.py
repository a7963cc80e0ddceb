"""The rolling restart itself: each replica ends and comes back while the load goes on, and the tools say what was done.

Two pods: a sidecar and the coordinator beside it, in each. All share one Redis, the ledger in one database and the runs
in another. What counts is what the tools' own audit says afterwards, and what the API says was handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from evaluation.address import Address, held_address
from evaluation.checks import Check
from evaluation.child import answers_200, child, rooms_environment
from evaluation.rollout.callers import Answers, Callers, Intent, NoUse
from evaluation.rollout.replicas import HERE, READY_S, Replica, Restart, coordinator, sidecar
from evaluation.tools.audit import Effect, Page

LOOK_S = 0.05
TOOL_S = 0.1
"""How long the tools work: long enough for some to be at it whenever a replica is told to end."""
SCRIPT = {"queue": [0.02, 0.05], "think": [0.02, 0.05]}
TURNS, CALLS = 3, 2
"""Users who take turns at the same time, and agents that call."""
BETWEEN = 6
"""Turns and calls that come to their end before each restart, and after the last."""
STORY_S = 300.0
"""For everything, which takes some ten seconds."""


class Ledger(Struct, frozen=True):
    """The tools' own ledger at one time: how many effects each tool has had, and how many were asked for by then."""

    intended: dict[str, int]
    done: dict[str, int]


class Rollout(Struct, frozen=True):
    """What happened. `twice` and `never` are effects that took place more than once, or not at all."""

    before: Ledger
    after: Ledger
    restarts: tuple[Restart, ...]
    answers: dict[str, int]
    runs: dict[str, int]
    twice: int
    never: int
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Say whether every check does."""
        return all(check.holds for check in self.checks)


class Stage(Struct, frozen=True):
    """Where everything listens, and the replicas in the order in which they are restarted."""

    session: aiohttp.ClientSession
    folder: Path
    assistants: Address
    tools: Address
    replicas: tuple[Replica, ...]
    callers: Callers


async def roll(folder: Path, redis: str, say: Callable[[str], None], rooms: Path = HERE) -> Rollout:
    """Restart everything once under load, on the Redis at `redis` (a URL without a database), and tell `say` what is
    going on. What runs at first is the version in `rooms`, what is started in its place is this one.

    Raises `ChildDied`, and `TimeoutError` when it all takes far too long.
    """
    async with asyncio.timeout(STORY_S), _stage(folder, redis, rooms) as stage:
        callers = stage.callers
        async with asyncio.TaskGroup() as load:
            for number in range(TURNS):
                load.create_task(_useful(callers.take_turns(number)))
            for number in range(CALLS):
                load.create_task(_useful(callers.call(number)))
            await _go_on(callers)
            before = ledger(callers.answers.intents, await _effects(stage))
            restarts = []
            for replica in stage.replicas:
                restarts.append(await replica.restart(stage.session, stage.folder))
                say(f"{restarts[-1].name} ended with {restarts[-1].code}, and was away for {restarts[-1].away_s:.1f} s")
                await _go_on(callers)
            callers.enough.set()
        effects = await _effects(stage)
        submissions = await _get(stage, f"{stage.assistants.url}/_simulator/submissions", list[dict[str, Any]])
    return found(callers.answers, before, effects, tuple(restarts), submissions)


async def _useful(load: Coroutine[Any, Any, None]) -> None:
    """Have one caller at work; one who is told something of no use goes away, and its answer is kept."""
    with contextlib.suppress(NoUse):
        await load


def ledger(intents: list[Intent], effects: list[Effect]) -> Ledger:
    """Return how things stand, by tool."""
    return Ledger(dict(Counter(tool for tool, _ in intents)), dict(Counter(effect.tool for effect in effects)))


def found(
    answers: Answers, before: Ledger, effects: list[Effect], restarts: tuple[Restart, ...],
    submissions: list[dict[str, Any]],
) -> Rollout:  # fmt: skip
    """Put the restart to its questions; the tools' audit and the API are the witnesses."""
    done = Counter((effect.tool, effect.payload_hash) for effect in effects)
    twice = sum(times - 1 for times in done.values() if times > 1)
    never = sum(intent not in done for intent in answers.intents)
    strange = done.keys() - set(answers.intents)
    taken = Counter(one["step_id"] for one in submissions if one["taken"])
    runs = dict(answers.statuses)
    checks = (
        Check("the tools' audit shows every intended effect exactly once", not (twice or never or strange)),
        Check("every run completed", set(runs) == {"completed"}),
        Check("the API took each step's outputs once", set(taken.values()) == {1} and len(taken) == sum(runs.values())),
        Check("no caller was answered anything that it could not act on", not answers.useless),
        Check("every replica that was told to end did so of its own accord", all(one.code == 0 for one in restarts)),
    )
    after = ledger(answers.intents, effects)
    return Rollout(before, after, restarts, dict(answers.told), runs, twice, never, checks)


@contextlib.asynccontextmanager
async def _stage(folder: Path, redis: str, rooms: Path) -> AsyncIterator[Stage]:
    """Run everything, and end it on the way out."""
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))  # each request finds who is there
        )
        at = [stack.enter_context(held_address()) for _ in range(8)]
        assistants, tools, proxies, healths, coordinators = at[0], at[1], at[2:4], at[4:6], at[6:8]
        script = folder / "assistants.json"
        script.write_text(json.dumps(SCRIPT))
        simulated = (
            ("assistants", assistants, f"{assistants.url}/_simulator/submissions", ["--script", str(script)]),
            ("tools", tools, f"{tools.url}/_tools/audit", ["--latency", str(TOOL_S)]),
        )
        for name, address, ready, more in simulated:
            command = [sys.executable, "-m", "cli.main", "simulate", name, "--listen", str(address), *more]
            running = stack.enter_context(child(name, command, folder, environ=rooms_environment()))
            await running.until_ready(functools.partial(answers_200, session, ready), READY_S)
        replicas: list[Replica] = []
        for number, (proxy, health, place) in enumerate(zip(proxies, healths, coordinators, strict=True), 1):
            replicas += [
                sidecar(f"sidecar {number}", proxy, health, tools, f"{redis}/0"),
                coordinator(f"coordinator {number}", place, assistants, proxy, f"{redis}/1"),
            ]
        for replica in replicas:
            stack.callback(replica.end)
        await asyncio.gather(*(replica.start(session, folder, rooms) for replica in replicas))
        callers = Callers(session, [one.url for one in coordinators], [one.url for one in proxies])
        yield Stage(session, folder, assistants, tools, tuple(replicas), callers)


async def _go_on(callers: Callers) -> None:
    """Return once some more turns and calls have come to their end."""
    until = callers.answers.ended + BETWEEN
    while callers.answers.ended < until:
        if callers.answers.useless:
            return  # some have gone away: nobody waits for what may never come
        await asyncio.sleep(LOOK_S)


async def _effects(stage: Stage) -> list[Effect]:
    """Return what the tools have done so far."""
    effects: list[Effect] = []
    while True:
        page: Page = await _get(stage, f"{stage.tools.url}/_tools/audit?since={len(effects)}&settled=true", Page)
        if not page.entries:
            return effects
        effects += page.entries


async def _get(stage: Stage, url: str, shape: Any) -> Any:
    async with stage.session.get(url, raise_for_status=True) as answer:
        return msgspec.json.decode(await answer.read(), type=shape)
