"""Turns sent at their times, whatever becomes of those before: an open loop.

Each is timed from when it was *meant* to be sent. A turn in a conversation that is being opened waits for the thread's
id, as its client would; one that is resent says exactly what was said under its `client_turn_id`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from evaluation.replay.turns import Turn
from evaluation.run.client import Asked, Client
from evaluation.run.environments import Environment
from evaluation.run.following import Following, Sent

ASSISTANT = "asst_simulated"


class Sending:
    """Sends the turns of one replay, `turns`, in parts that follow each other. `now` returns Unix seconds; `limit_s` is
    how long a client insists."""

    def __init__(
        self, client: Client, following: Following, environment: Environment, turns: Iterable[Turn], *, seed: int,
        limit_s: float, now: Callable[[], float],
    ) -> None:  # fmt: skip
        self._client = client
        self._following = following
        self._environment = environment
        self._seed = seed
        self._limit_s = limit_s
        self._now = now
        self._threads: dict[str, asyncio.Future[str]] = {}
        loop, sent = asyncio.get_running_loop(), Counter(turn.client_turn_id for turn in turns)
        self._resent = {name: loop.create_future() for name, times in sent.items() if times > 1}
        """The threads that those turns name which are sent more than once."""
        self.moved = 0

    async def send(self, turns: Iterable[Turn], begun_at: float, pace: float) -> None:
        """Send turns at their times, divided by `pace`, from `begun_at` on; return once each has named a run or was
        refused, and is followed."""
        async with asyncio.TaskGroup() as group:
            for turn in turns:
                due_at = begun_at + turn.at / pace
                if (wait_s := due_at - self._now()) > 0:
                    await asyncio.sleep(wait_s)
                group.create_task(self._turn(turn, due_at))

    async def _turn(self, turn: Turn, due_at: float) -> None:
        until, asked = due_at + self._limit_s, Asked()
        moving = self._environment.moved_to(turn, self._seed)
        thread_id, opens = await self._thread(turn, until)
        try:
            await self._ask(turn, thread_id, moving, until, asked)
        finally:
            if opens is not None:
                self._opened(turn, opens, asked)
        self._following.add(Sent(turn.id, due_at, asked, moving is not None))

    async def _ask(
        self, turn: Turn, thread_id: str, moving: tuple[str, float] | None, until: float, asked: Asked
    ) -> None:
        body = _body(turn, thread_id)
        region = self._environment.region_of(turn)
        if moving is None:
            await self._client.ask(region, body, until, asked)
            return
        self.moved += 1
        other, after_s = moving
        unheard = asyncio.create_task(self._client.once(region, body, Asked()))
        try:
            await asyncio.sleep(after_s)
            await self._client.ask(other, body, until, asked)
        finally:
            unheard.cancel()
            await asyncio.gather(unheard, return_exceptions=True)
        asked.sends += 1

    async def _thread(self, turn: Turn, until: float) -> tuple[str, asyncio.Future[str] | None]:
        """Return the thread that a turn names, empty for one that opens its conversation; with the future that is to be
        told which that is."""
        said = self._resent.get(turn.client_turn_id)
        if said is not None and turn.repeat is not None and turn.repeat.kind == "resent":
            return await self._within(said, until), None
        thread_id, opens = "", None
        while not thread_id and (opening := self._threads.get(turn.thread)) is not None and self._now() < until:
            thread_id = await self._within(opening, until)
        if not thread_id:
            opens = self._threads[turn.thread] = asyncio.get_running_loop().create_future()
        if said is not None and not said.done():
            said.set_result(thread_id)
        return thread_id, opens

    async def _within(self, future: asyncio.Future[str], until: float) -> str:
        try:
            async with asyncio.timeout(max(0.0, until - self._now())):
                return await asyncio.shield(future)
        except TimeoutError:
            return ""

    def _opened(self, turn: Turn, opens: asyncio.Future[str], asked: Asked) -> None:
        """Tell who waits for the thread; where there is none, the next turn opens the conversation."""
        opens.set_result(asked.thread_id)
        if not asked.thread_id and self._threads.get(turn.thread) is opens:
            del self._threads[turn.thread]  # before anybody who waited looks again


def _body(turn: Turn, thread_id: str) -> bytes:
    body = {
        "client_turn_id": turn.client_turn_id, "message": turn.message(), "assistant_id": ASSISTANT,
        "tenant": turn.tenant, "user": turn.user,
    }  # fmt: skip
    return msgspec.json.encode(body | {"thread_id": thread_id} if thread_id else body)
