"""The incident twice, with real processes over real HTTP: against the tool directly, and through `holdfast proxy`.

What counts is what the tool's own audit says afterwards. `replay` returns both stories and the checks that they were
put to; it leaves no process and no file behind, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import msgspec
from msgspec import Struct

from evaluation.address import Address, unused_address
from evaluation.agent_run import STORY_S, AgentRun, live_through
from evaluation.checks import Check
from evaluation.child import Child, answers_200, bereaved, child, rooms_environment
from evaluation.incident import FIRST, TOOL_LATENCIES_MS, Answer, Caller, Event, executions
from evaluation.sidecar import sidecar
from evaluation.tools.audit import Effect, Page

READY_S = 20.0
"""How long a child may take to become ready. Far beyond what it needs: a loaded machine is no reason to fail."""


class Side(Struct, frozen=True):
    """One of the two stories. `arrivals` counts the requests that reached the tool, `audit` has what it executed."""

    name: str
    timeline: tuple[Event, ...]
    audit: tuple[Effect, ...]
    arrivals: int
    first: Answer | None
    second: Answer | None


class Replay(Struct, frozen=True):
    """Both stories, at which speed they were lived through, and what was checked; and an agent's whole run."""

    speed: float
    direct: Side
    guarded: Side
    checks: tuple[Check, ...]
    agent: AgentRun

    @property
    def holds(self) -> bool:
        """Say whether every check does."""
        return all(check.holds for check in (*self.checks, *self.agent.checks))


async def replay(speed: float, say: Callable[[str], None]) -> Replay:
    """Live through the incident both ways, telling `say` what is going on.

    Raises `ChildDied` when a process fails to start or to stay, `TimeoutError` when it all takes far too long.
    """
    limit_s = 8 * READY_S + STORY_S + 6 * sum(TOOL_LATENCIES_MS) / 1000 / speed
    async with asyncio.timeout(limit_s), aiohttp.ClientSession() as session:
        say("1 of 3: the tool directly ...")
        with _directory() as directory:
            direct = await _side(session, directory, speed, guarded=False)
        say("2 of 3: through holdfast proxy, on SQLite, with the shipped policies ...")
        with _directory() as directory:
            guarded = await _side(session, directory, speed, guarded=True)
        say("3 of 3: an agent's whole run, its coordinator killed on the way ...")
        with _directory() as directory:
            agent = await live_through(session, directory)
    return Replay(speed, direct, guarded, checks(direct, guarded), agent)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
        yield Path(directory)


async def _side(session: aiohttp.ClientSession, directory: Path, speed: float, *, guarded: bool) -> Side:
    async with _tool(session, directory, speed) as (tool, address):
        watched = [tool]
        async with contextlib.AsyncExitStack() as stack:
            front = address
            if guarded:
                store = f"sqlite:///{directory / 'holdfast.db'}"
                proxy = await stack.enter_async_context(sidecar(session, directory, address, store, ready_s=READY_S))
                watched.append(proxy.process)
                front = proxy.address
            try:
                told = await Caller(session, front.url, speed).live_through()
                audit = await _settled(session, address)
            except aiohttp.ClientError as error:
                raise bereaved(watched, error) from error
    events = (*told.events, *executions(audit.entries, told.began, speed))
    return Side(
        name="through holdfast" if guarded else "directly",
        timeline=tuple(sorted(events, key=lambda event: event.at_ms)),
        audit=audit.entries,
        arrivals=audit.arrivals,
        first=told.first,
        second=told.second,
    )


@contextlib.asynccontextmanager
async def _tool(session: aiohttp.ClientSession, directory: Path, speed: float) -> AsyncIterator[tuple[Child, Address]]:
    address = unused_address()
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "simulate",
        "tools",
        "--listen",
        str(address),
        "--audit",
        "audit.jsonl",
    ]
    for latency_ms in TOOL_LATENCIES_MS:
        command += ["--latency", str(latency_ms / 1000 / speed)]
    with child("tool", command, directory, environ=rooms_environment()) as tool:
        await tool.until_ready(functools.partial(answers_200, session, f"{address.url}/_tools/audit"), READY_S)
        yield tool, address


async def _settled(session: aiohttp.ClientSession, tool: Address) -> Page:
    """Return the tool's audit once nothing that was sent can still add to it."""
    async with session.get(f"{tool.url}/_tools/audit?settled=true", raise_for_status=True) as response:
        return msgspec.json.decode(await response.read(), type=Page)


def checks(direct: Side, guarded: Side) -> tuple[Check, ...]:
    """Put both stories to the incident's questions; the tools' audits are the witnesses."""
    twice = len(direct.audit) == 2 and len({effect.payload_hash for effect in direct.audit}) == 1
    once = len(guarded.audit) == 1 and guarded.audit[0].request_id == FIRST
    second = guarded.second
    late = second is not None and second.status == 201 and second.late
    same = late and once and second is not None and second.audit_id == guarded.audit[0].audit_id
    return (
        Check("both callers gave up on the first attempt", direct.first is None and guarded.first is None),
        Check("directly: the tool's audit shows two tickets for one call", twice),
        Check("through holdfast: the tool's audit shows one ticket", once),
        Check("through holdfast: one request reached the tool", guarded.arrivals == 1),
        Check(f"through holdfast: the second attempt got the late result of {FIRST}", same),
    )
