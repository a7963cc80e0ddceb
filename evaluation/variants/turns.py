"""Starting turns: a thread, if there is none yet, and a run in it that carries the turn's name.

A creation whose answer was lost is looked for by that name before it is made again. How far a turn that is sent twice
is known for the same is the variant's: what `Remembered` remembers, and for whom.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from msgspec import Struct

from evaluation.variants.agents import Agents, Failed, Refused, Seen

TRIES = 3
PAUSE_S = 0.3
"""Before something that may have been made is looked for."""


class Ask(Struct, frozen=True):
    """`POST /v1/turns`."""

    client_turn_id: str
    message: str
    assistant_id: str
    thread_id: str = ""
    tenant: str = ""
    user: str = ""

    @property
    def name(self) -> str:
        """What it is remembered by."""
        return f"{self.tenant}/{self.client_turn_id}"


class Started(Struct, frozen=True):
    """The turn's run; `anew` if it was made for this very request."""

    thread_id: str
    run_id: str
    anew: bool = False


class NotStarted(Struct, frozen=True):
    """Why there is no run: `thread-busy`, `turn-pending`, `backend-refused`, `backend-unavailable` or
    `store-unavailable`."""

    why: str
    detail: str


class Remembered(Protocol):
    """Which turns have been started."""

    async def begin(self, name: str) -> Started | NotStarted | None:
        """Return what is known of a turn; None if nothing was, and it is now ours to start."""

    async def began(self, name: str, started: Started) -> None:
        """Remember a turn's run."""

    async def gave_up(self, name: str) -> None:
        """Let somebody else try."""


class Turns:
    """Starts turns. `region` goes into their runs' metadata, beside tenant and user."""

    def __init__(self, agents: Agents, remembered: Remembered, region: str) -> None:
        self._agents = agents
        self._remembered = remembered
        self._region = region
        self._under_way: dict[str, asyncio.Task[Started | NotStarted]] = {}

    async def start(self, ask: Ask) -> Started | NotStarted:
        """Start a turn, or say what became of it. Goes on if its caller hangs up."""
        task, joined = self._under_way.get(ask.name), True
        if task is None:
            task, joined = asyncio.get_running_loop().create_task(self._start(ask)), False
            self._under_way[ask.name] = task
            task.add_done_callback(lambda _: self._under_way.pop(ask.name))
        told = await asyncio.shield(task)
        return Started(told.thread_id, told.run_id) if joined and isinstance(told, Started) else told

    async def _start(self, ask: Ask) -> Started | NotStarted:
        known = await self._remembered.begin(ask.name)
        if known is not None:
            return known
        told = await self._make(ask)
        if isinstance(told, Started):
            await self._remembered.began(ask.name, told)
        else:
            await self._remembered.gave_up(ask.name)
        return told

    async def _make(self, ask: Ask) -> Started | NotStarted:
        thread_id: str | Refused | Failed = ask.thread_id
        for _ in range(TRIES):
            if isinstance(thread_id, str) and thread_id:
                break
            thread_id = await self._agents.create_thread()
        if not isinstance(thread_id, str):
            return _not_started(thread_id)
        marks = {"turn": ask.name, "tenant": ask.tenant, "user": ask.user, "region": self._region}
        made: Seen | Refused | Failed = Failed("")
        for number in range(TRIES):
            if number:
                await asyncio.sleep(PAUSE_S)
                found = await self._agents.find_run(thread_id, ask.name)
                if isinstance(found, Seen):
                    return Started(found.thread_id, found.run_id, anew=True)
            made = await self._agents.create_run(thread_id, ask.assistant_id, ask.message, marks)
            if isinstance(made, Seen):
                return Started(made.thread_id, made.run_id, anew=True)
            if isinstance(made, Refused):
                return await self._refused(ask, thread_id, made)
        assert isinstance(made, Failed)
        return _not_started(made)

    async def _refused(self, ask: Ask, thread_id: str, refused: Refused) -> Started | NotStarted:
        """Say why there is no run; of a thread that is busy with this very turn, which run it is."""
        if refused.busy and isinstance(found := await self._agents.find_run(thread_id, ask.name), Seen):
            return Started(found.thread_id, found.run_id)
        return _not_started(refused)


def _not_started(told: Refused | Failed) -> NotStarted:
    if isinstance(told, Failed):
        return NotStarted("backend-unavailable", told.why)
    return NotStarted("thread-busy" if told.busy else "backend-refused", told.why)
