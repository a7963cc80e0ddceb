"""An agent's whole run, with real processes: an Assistants-style API, a coordinator, the sidecar, and tools.

The user clicks twice, the model's replica restarts and asks for its calls once more under new ids, and the coordinator
is killed with -9 while the tools work, and started again. What counts is what the tools' own audit says afterwards, and
what the API says was handed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from evaluation.address import Address, unused_address
from evaluation.checks import Check
from evaluation.child import Child, answers_200, bereaved, child, rooms_environment
from evaluation.sidecar import POLICIES, sidecar
from evaluation.tools.audit import Effect, Page

READY_S = 20.0
STORY_S = 60.0
"""For the whole run, which takes some five seconds."""
LOOK_S = 0.05
TOOL_S = 1.5
"""How long the tools work: long enough to be killed meanwhile."""

PLAN = {
    "steps": [
        [
            {"tool": "create_ticket", "arguments": {"user_id": "usr_1042", "subject": "Export fails"}},
            {"tool": "send_email", "arguments": {"to": "kim@example.com", "subject": "We are on it"}},
        ],
        [{"tool": "refund_payment", "arguments": {"payment_id": "pay_77", "amount": 1900}}],
    ]
}
TURN = {
    "client_turn_id": "turn-1", "message": json.dumps(PLAN), "assistant_id": "asst_support", "user": "usr_1042",
}  # fmt: skip
SCRIPT = {"seed": 1, "rates": {"regenerate": 1.0}, "think": [0.3, 0.3]}
TOOLS = ("create_ticket", "refund_payment", "send_email")


class AgentRun(Struct, frozen=True):
    """What happened. `run` is the coordinator's own account of it, `effects` the tools' audit, `submissions` what the
    API was handed in, and `checks` what they were put to."""

    run: dict[str, Any]
    effects: tuple[Effect, ...]
    submissions: tuple[dict[str, Any], ...]
    checks: tuple[Check, ...]


class Stage(Struct, frozen=True):
    """Where everything listens, and what runs."""

    directory: Path
    assistants: Address
    tools: Address
    proxy: Address
    coordinator: Address
    watched: list[Child]


async def live_through(session: aiohttp.ClientSession, directory: Path) -> AgentRun:
    """Let the run happen, with the coordinator's death in the middle. Raises `ChildDied` and `TimeoutError`."""
    async with asyncio.timeout(4 * READY_S + STORY_S), _stage(session, directory) as stage:
        try:
            async with _coordinator(session, stage) as first:
                started = await _clicked_twice(session, stage)
                await _in_flight(session, stage)
                first.kill()
            async with _coordinator(session, stage):
                run = await _ended(session, stage, started["run_id"])
        except aiohttp.ClientError as error:
            raise bereaved(stage.watched, error) from error
        page = await _get(session, f"{stage.tools.url}/_tools/audit?settled=true", Page)
        submissions = await _get(session, f"{stage.assistants.url}/_simulator/submissions", list[dict[str, Any]])
    return AgentRun(run, page.entries, tuple(submissions), checks(run, page.entries, submissions))


def checks(run: dict[str, Any], effects: tuple[Effect, ...], submissions: list[dict[str, Any]]) -> tuple[Check, ...]:
    """Put the run to its questions; the tools' audit and the API are the witnesses."""
    taken = [one["step_id"] for one in submissions if one["taken"]]
    renewed = [call for step in run["steps"] for call in step["calls"] if call["known_as"] != call["tool_call_id"]]
    return (
        Check("the run completed, though its coordinator was killed on the way", run["status"] == "completed"),
        Check("the model asked for calls once more under new ids", bool(renewed)),
        Check("the tools' audit shows one ticket, one e-mail, one refund", sorted(e.tool for e in effects) == [*TOOLS]),
        Check("the API took each step's outputs once", len(taken) == len(set(taken)) == len(PLAN["steps"])),
    )


@contextlib.asynccontextmanager
async def _stage(session: aiohttp.ClientSession, directory: Path) -> AsyncIterator[Stage]:
    """Run everything but the coordinator."""
    assistants, tools, coordinator = unused_address(), unused_address(), unused_address()
    script = directory / "assistants.json"
    script.write_text(json.dumps(SCRIPT))
    api = [*_holdfast("simulate", "assistants"), "--listen", str(assistants), "--script", str(script)]
    acting = [*_holdfast("simulate", "tools"), "--listen", str(tools), "--latency", str(TOOL_S)]
    with (
        child("assistants", api, directory, environ=rooms_environment()) as api_child,
        child("tools", acting, directory, environ=rooms_environment()) as tools_child,
    ):
        ready = functools.partial(answers_200, session, f"{assistants.url}/_simulator/submissions")
        await api_child.until_ready(ready, READY_S)
        await tools_child.until_ready(functools.partial(answers_200, session, f"{tools.url}/_tools/audit"), READY_S)
        ledger = f"sqlite:///{directory / 'holdfast.db'}"
        async with sidecar(session, directory, tools, ledger, ready_s=READY_S) as proxy:
            watched = [api_child, tools_child, proxy.process]
            yield Stage(directory, assistants, tools, proxy.address, coordinator, watched)


@contextlib.asynccontextmanager
async def _coordinator(session: aiohttp.ClientSession, stage: Stage) -> AsyncIterator[Child]:
    command = [
        *_holdfast("coordinator"), "--assistants", f"{stage.assistants.url}/v1", "--proxy", stage.proxy.url,
        "--policies", str(POLICIES), "--listen", str(stage.coordinator),
        "--store", f"sqlite:///{stage.directory / 'coordinator.db'}",
    ]  # fmt: skip
    with child("coordinator", command, stage.directory, environ=rooms_environment()) as running:
        stage.watched.append(running)
        ready = functools.partial(answers_200, session, f"{stage.coordinator.url}/readyz")
        await running.until_ready(ready, READY_S)
        yield running
        stage.watched.remove(running)


async def _clicked_twice(session: aiohttp.ClientSession, stage: Stage) -> dict[str, str]:
    """Ask for the turn twice at once, as an impatient user does; both get the same run."""

    async def click() -> dict[str, str]:
        async with session.post(f"{stage.coordinator.url}/v1/turns", json=TURN, raise_for_status=True) as answer:
            told: dict[str, str] = await answer.json()
            return told

    first, second = await asyncio.gather(click(), click())
    assert first == second, (first, second)
    return first


async def _in_flight(session: aiohttp.ClientSession, stage: Stage) -> None:
    """Return once both calls of the first step are with the tools."""
    while True:
        page: Page = await _get(session, f"{stage.tools.url}/_tools/audit", Page)
        if page.in_flight >= len(PLAN["steps"][0]):
            return
        await asyncio.sleep(LOOK_S)


async def _ended(session: aiohttp.ClientSession, stage: Stage, run_id: str) -> dict[str, Any]:
    while True:
        run: dict[str, Any] = await _get(session, f"{stage.coordinator.url}/v1/runs/{run_id}", dict[str, Any])
        if run["ended"]:
            return run
        await asyncio.sleep(LOOK_S)


async def _get(session: aiohttp.ClientSession, url: str, shape: Any) -> Any:
    async with session.get(url, raise_for_status=True) as answer:
        return msgspec.json.decode(await answer.read(), type=shape)


def _holdfast(*words: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *words]
