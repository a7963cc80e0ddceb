"""Callers as they are: most ask once, some several times at once, some give up and ask again, some under new ids."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any

import aiohttp

from evaluation.dashboard.world import GATEWAYS, Machinery

CALLS_S, TURNS_S = 14.0, 1.0
"""Calls and turns a second, at chance times: enough for a graph, little for a laptop."""
TOOLS = {"create_ticket": 5, "send_email": 3, "refund_payment": 2, "search_kb": 4}
PATIENCE_S, IMPATIENCE_S = 8.0, 0.04
LOOK_S = 0.5
AWAY_S = 6.0
"""How long the store is away, in the middle."""


class Load:
    """Asks for `seconds`, the same from run to run but for the times at which answers come."""

    def __init__(self, session: aiohttp.ClientSession, machinery: Machinery, seconds: float) -> None:
        self._session = session
        self._at = machinery
        self._seconds = seconds
        self._chance = random.Random(7)  # noqa: S311  # which call comes next is no secret
        self._numbers = itertools.count()
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Ask, take the store away in the middle, and return when the last answer is there."""
        tasks = (self._callers(), self._users(), self._gateway(), self._trouble())
        async with asyncio.timeout(self._seconds + 4 * PATIENCE_S):
            await asyncio.gather(*tasks)
            while self._asking:
                await asyncio.wait(self._asking)

    async def _trouble(self) -> None:
        await asyncio.sleep(self._seconds / 2)
        await self._at.away(min(AWAY_S, self._seconds / 6))

    async def _callers(self) -> None:
        async for number in self._for_a_while(CALLS_S):
            tool = self._chance.choices(list(TOOLS), list(TOOLS.values()))[0]
            self._begin(self._one(tool, number, self._chance.random()))

    async def _one(self, tool: str, number: int, manner: float) -> None:
        """Make one call in the manner that its lot says."""
        ids, body = (f"run_{number // 3}", f"call_{number}"), _body(tool, number)
        if tool == "search_kb" or manner >= 0.34:
            await self._ask(tool, ids, body)
        elif manner < 0.12:
            await asyncio.gather(*(self._ask(tool, ids, body) for _ in range(3)))
        elif manner < 0.22:
            await self._ask(tool, ids, body, IMPATIENCE_S)
            await self._ask(tool, ids, body)
        else:
            await self._ask(tool, ids, body)
            again = (ids[0], f"{ids[1]}_again") if manner < 0.26 else ids
            await self._ask(tool, again, {**body, "subject": "another"} if manner > 0.335 else body)

    async def _ask(
        self, tool: str, ids: tuple[str, str], body: Mapping[str, Any], patience: float = PATIENCE_S
    ) -> None:
        headers = {"X-Run-Id": ids[0], "X-Tool-Call-Id": ids[1], "Authorization": "Bearer agent"}
        await self._post(f"{self._at.sidecar}/tools/{tool}", body, headers, patience)

    async def _users(self) -> None:
        async for number in self._for_a_while(TURNS_S):
            calls = [{"tool": tool, "arguments": _body(tool, number)} for tool in ("create_ticket", GATEWAYS)]
            turn = {
                "client_turn_id": f"turn_{number}", "assistant_id": "asst_1",
                "message": json.dumps({"steps": [calls[: 1 + number % 2], calls[:1]]}),
            }  # fmt: skip
            for _ in range(1 + (self._chance.random() < 0.2)):  # some click twice
                self._begin(self._post(f"{self._at.coordinator}/v1/turns", turn))

    async def _gateway(self) -> None:
        """Post the results of the tool that others execute."""
        posted: set[str] = set()
        async for _ in self._for_a_while(1 / LOOK_S):
            for run in (await self._read("/v1/runs?status=requires_action")).get("runs", []):
                told = await self._read(f"/v1/runs/{run['run_id']}")
                for step in told.get("steps", []):
                    for call in step["calls"]:
                        if call["tool"] == GATEWAYS and call["tool_call_id"] not in posted:
                            posted.add(call["tool_call_id"])
                            self._answer(told, step["step_id"], call["tool_call_id"])

    def _answer(self, run: Mapping[str, Any], step_id: str, call_id: str) -> None:
        """Post one result: mostly once, or again, or otherwise."""
        result = {"thread_id": run["thread_id"], "run_id": run["run_id"], "step_id": step_id, "tool_call_id": call_id}
        lot = self._chance.random()
        outputs = ["done", "done"] if lot < 0.2 else ["done", "not done"] if lot < 0.3 else ["done"]
        for output in outputs:
            self._begin(self._post(f"{self._at.coordinator}/v1/tool-outputs", {**result, "output": output}))

    async def _for_a_while(self, rate: float) -> AsyncIterator[int]:
        """Yield numbers at chance times, `rate` a second."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        while loop.time() < until:
            yield next(self._numbers)
            await asyncio.sleep(min(self._chance.expovariate(rate), 1.0))

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _post(
        self, url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None, patience: float = PATIENCE_S
    ) -> None:
        """Send and read; what comes back, or does not, is what the metrics are to tell."""
        limit = aiohttp.ClientTimeout(total=patience)
        try:
            async with self._session.post(url, json=body, headers=headers, timeout=limit) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return

    async def _read(self, path: str) -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(total=PATIENCE_S)
        try:
            async with self._session.get(self._at.coordinator + path, timeout=limit) as answer:
                told: dict[str, Any] = await answer.json() if answer.ok else {}
                return told
        except (aiohttp.ClientError, TimeoutError):
            return {}


def _body(tool: str, number: int) -> dict[str, Any]:
    """Return a call's arguments: no two calls are about the same."""
    about = {"user_id": f"u_{number}", "subject": f"printer {number}"}
    match tool:
        case "send_email":
            return {"to": f"u{number}@example.com", "subject": about["subject"], "text": "Hello"}
        case "refund_payment":
            return {"payment_id": f"pay_{number}", "amount": 1 + number % 9}
        case _:
            return about
