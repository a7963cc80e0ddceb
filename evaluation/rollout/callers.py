"""The load: users whose turns go to whichever coordinator answers, and agents that call a tool through a sidecar.

A caller asks again, under the same ids, whoever of the two is there: what it is told to do, and no more. Whatever it
was answered is counted; an answer that leaves it not knowing what to do is kept, word for word.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
from msgspec import Struct, field

from evaluation.tools.asking import payload_hash

PAUSE_S = 0.05
"""Before a caller asks again."""
ANSWER_S = 60.0
"""How long an answer may take; a slow machine is no reason to fail."""
TOLD_MAX = 300

Intent = tuple[str, str]
"""One effect that somebody wants: the tool, and the hash of what it is asked for."""


class NoUse(Exception):
    """An answer that a caller can do nothing with."""


class Answers(Struct):
    """What callers were told: how often each, and what was of no use to them. `ended` counts the calls and turns that
    came to their end, `intents` is what they were for."""

    told: Counter[str] = field(default_factory=Counter)
    useless: list[str] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    ended: int = 0


class Callers:
    """All of them. `coordinators` and `sidecars` are origins, of which one may be away at any time."""

    def __init__(self, session: aiohttp.ClientSession, coordinators: Sequence[str], sidecars: Sequence[str]) -> None:
        self.answers = Answers()
        self.enough = asyncio.Event()
        """Set: who is under way comes to its end, and nobody begins anew."""
        self._session = session
        self._coordinators = coordinators
        self._sidecars = sidecars
        self._numbers = itertools.count(1)

    async def take_turns(self, first: int) -> None:
        """Take one turn after the other, each with a ticket and an e-mail; ask coordinator number `first` first."""
        while not self.enough.is_set():
            number = next(self._numbers)
            calls = {
                "create_ticket": {"user_id": f"usr_{number}", "subject": f"turn {number}"},
                "send_email": {"to": f"kim{number}@example.com", "subject": f"turn {number}"},
            }
            self._mean(calls)
            plan = [[{"tool": tool, "arguments": arguments} for tool, arguments in calls.items()]]
            turn = {
                "client_turn_id": f"turn-{number}", "message": json.dumps({"steps": plan}), "user": f"usr_{number}",
                "assistant_id": "asst_support",
            }  # fmt: skip
            started = await self._ask(self._coordinators, first, "POST", "/v1/turns", turn)
            run = await self._ended(f"/v1/runs/{started['run_id']}", first)
            self.answers.statuses[run["status"]] += 1
            self.answers.ended += 1

    async def _ended(self, path: str, first: int) -> dict[str, Any]:
        while True:
            run = await self._ask(self._coordinators, first, "GET", path)
            if run["ended"]:
                return run
            await asyncio.sleep(PAUSE_S)

    async def call(self, first: int) -> None:
        """Make one call after the other, each for a refund; ask sidecar number `first` first."""
        while not self.enough.is_set():
            number = next(self._numbers)
            refund = {"payment_id": f"pay_{number}", "amount": number}
            self._mean({"refund_payment": refund})
            ids = {
                "X-Run-Id": f"agent-{number}", "X-Tool-Call-Id": f"call-{number}", "X-Thread-Id": f"thread-{number}",
                "X-User-Id": f"usr_{number}",
            }  # fmt: skip
            await self._ask(self._sidecars, first, "POST", "/tools/refund_payment", refund, ids)
            self.answers.ended += 1

    def _mean(self, calls: dict[str, dict[str, Any]]) -> None:
        self.answers.intents += [(tool, payload_hash(json.dumps(asked).encode())) for tool, asked in calls.items()]

    async def _ask(
        self, origins: Sequence[str], first: int, method: str, path: str, body: Any = None,
        ids: dict[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Ask until there is an answer to keep. Raises `NoUse`."""
        told = self.answers.told
        for number in itertools.count(first):
            url = f"{origins[number % len(origins)]}{path}"
            try:
                async with asyncio.timeout(ANSWER_S), self._session.request(method, url, json=body, headers=ids) as got:
                    data, status = await got.read(), got.status
            except aiohttp.ClientConnectorError:
                told["not reached"] += 1
            except aiohttp.ClientError:
                told["hung up on, without an answer"] += 1  # the same ids again are safe: that is the promise
            else:
                if status < 300:
                    told[f"{status}{' ' + how if (how := got.headers.get('Holdfast-Outcome', '')) else ''}"] += 1
                    kept: dict[str, Any] = json.loads(data)
                    return kept
                told[f"{status} {self._checked(status, data)}, to be asked again"] += 1
            await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable")

    def _checked(self, status: int, data: bytes) -> str:
        """Return what kind of refusal it is. Raises `NoUse` for one that does not say to come again under the same
        ids."""
        problem: Any = None
        if data.startswith(b"{"):
            problem = json.loads(data)
        if not isinstance(problem, dict) or problem.get("retry") != "same-key":
            useless = f"{status}: {data[:TOLD_MAX].decode(errors='replace')}"
            self.answers.useless.append(useless)
            raise NoUse(useless)
        return str(problem["type"]).rpartition(":")[2]
