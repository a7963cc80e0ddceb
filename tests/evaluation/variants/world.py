"""The world around reference coordinators in virtual time: the real simulators, asked without a network.

A request is handed to the simulator's own application, so what is true of it over HTTP is true here; only bytes do not
travel, and hours pass in no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

from aiohttp import StreamReader, web
from aiohttp.test_utils import make_mocked_request

from evaluation.assistants.api import Api
from evaluation.assistants.script import Fate, Rates, Script
from evaluation.assistants.things import Run
from evaluation.scripts import Range
from evaluation.tools.api import Api as Tools
from evaluation.tools.audit import Audit, Effect
from evaluation.tools.script import DEFAULT, Tool
from evaluation.tools.script import Script as ToolsScript
from evaluation.variants.agents import ENDED, Agents
from evaluation.variants.exchange import Lost, NotSent, Replied
from evaluation.variants.hybrid import Hybrid
from evaluation.variants.metrics import Metrics
from evaluation.variants.polling import Polling
from evaluation.variants.relaying import Relay
from evaluation.variants.sharing import Share
from evaluation.variants.turns import Ask
from evaluation.variants.workers import Workers
from tests.evaluation.variants.shared_twin import Records, SharedTwin

EPOCH = 1_764_000_000.0
API, TOOLS = "http://api/v1", "http://tools"


def wall() -> float:
    """Return the wall clock of virtual time."""
    return EPOCH + asyncio.get_running_loop().time()


class InProcess:
    """An exchange with the applications that stand behind hosts' names. While `down` holds a host, nothing is sent
    there."""

    def __init__(self, **applications: web.Application) -> None:
        self.down: set[str] = set()
        self.sent: list[tuple[str, str, Mapping[str, str]]] = []
        self._applications = applications
        for application in applications.values():
            application.freeze()

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None = None, *, within_s: float
    ) -> Replied | NotSent | Lost:
        """See `evaluation.variants.exchange.Exchange`. A caller that hangs up stops nothing."""
        parts = urlsplit(url)
        if parts.hostname in self.down:
            return NotSent("connection refused")
        self.sent.append((method, parts.path, fields))
        application = self._applications[str(parts.hostname)]
        payload = StreamReader(Mock(), 2**20, loop=asyncio.get_running_loop())
        payload.feed_data(body or b"")
        payload.feed_eof()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        request = make_mocked_request(method, target, headers=dict(fields), payload=payload, app=application)
        work = asyncio.ensure_future(application._handle(request))
        try:
            async with asyncio.timeout(within_s):
                answer = await asyncio.shield(work)
        except TimeoutError:
            return Lost("no answer in time", timed_out=True)
        assert isinstance(answer, web.Response)
        if request.transport is not None and request.transport.abort.called:  # type: ignore[attr-defined]
            return Lost("the connection was cut")
        told = {name.lower(): value for name, value in answer.headers.items()}
        content = answer.body if isinstance(answer.body, bytes) else b""
        return Replied(answer.status, {"content-type": answer.content_type, **told}, content)

    async def close(self) -> None:
        """There is nothing to let go of."""


class World:
    """An API and tools. `think_s` is how long the model takes, `rates` the API's faults, `tool` how tools behave."""

    def __init__(self, *, rates: Rates | None = None, tool: Tool | None = None, think_s: float = 0.1) -> None:
        think = Range(think_s, think_s)
        self._news = asyncio.Event()
        self.instances: list[Hybrid] = []
        self.api = Api(Fate(Script(queue=think, think=think, rates=rates or Rates())), self._notify, wall)
        self.audit = Audit(None)
        script = ToolsScript(tools={DEFAULT: tool or Tool(latency=Range(0.1, 0.1))})
        tools = Tools(script, self.audit, wall)
        self.exchange = InProcess(api=self.api.application(), tools=tools.application())
        self.agents = Agents(API, self.exchange)
        self.records = Records()
        self.relay = Relay({}, self.exchange)
        self.told_to = 0
        """Which of the instances is notified next; None of them if there are none."""

    def _notify(self, run: Run) -> None:
        self._news.set()
        if self.instances and run.status == "requires_action":
            instance = self.instances[self.told_to % len(self.instances)]
            self.told_to += 1
            instance._go(run.thread_id, run.id, "webhook", looks=4)

    def polling(self, *, number: int = 0, of: int = 1, region: str = "r1", window_s: float = 5.0) -> Polling:
        """Return an instance of variant A."""
        return Polling(self.agents, self._workers(), Metrics(), Share(region, number, of), window_s=window_s)

    def hybrid(
        self, *, number: int = 0, of: int = 1, region: str = "r1", notified: bool = True, records: Records | None = None
    ) -> Hybrid:
        """Return an instance of variant B, on the records of its region or on others."""
        shared = SharedTwin(records or self.records, f"instance {len(self.instances)} {number}")
        hybrid = Hybrid(
            self.agents, self._workers(), shared, Metrics(), Share(region, number, of), None, self.relay, fallback_s=2.5
        )
        if notified:
            self.instances.append(hybrid)
        return hybrid

    def _workers(self) -> Workers:
        return Workers(TOOLS, self.exchange, Metrics(), workers=16, chance=lambda: 1.0)

    async def run(self, *steps: list[str], region: str = "r1", thread_id: str = "") -> tuple[str, str]:
        """Start a run that asks for the tools named, step by step; return its thread and its own id."""
        thread = thread_id or await self.agents.create_thread()
        assert isinstance(thread, str)
        made = await self.agents.create_run(thread, "asst_1", message(*steps), {"region": region, "tenant": "t1"})
        assert not isinstance(made, tuple)
        return thread, made.run_id  # type: ignore[union-attr]

    def status(self, run_id: str) -> str:
        """Return a run's status, from the API itself."""
        return self.api.life.runs[run_id].status

    async def ended(self, run_id: str, within_s: float = 120.0) -> str:
        """Return how a run ends, once it does. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while self.status(run_id) not in ENDED:
                self._news.clear()
                await self._news.wait()
        return self.status(run_id)

    def effects(self) -> tuple[Effect, ...]:
        """Return what the tools did."""
        return tuple(self.audit.effects())

    def taken(self, run_id: str) -> list[dict[str, Any]]:
        """Return the outputs that the API took for a run, a map from call to decoded output for each step."""
        found = [one for one in self.api.submissions if one.taken and one.run_id == run_id]
        return [{call: json.loads(output) for call, output in one.outputs.items()} for one in found]


@contextlib.asynccontextmanager
async def at_work(*coordinators: Polling | Hybrid) -> AsyncIterator[None]:
    """Let coordinators work."""
    working: list[Coroutine[Any, Any, None]] = [one.run() for one in coordinators]
    tasks = [asyncio.ensure_future(one) for one in working]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def message(*steps: list[str]) -> str:
    """Return the words that make the model ask for these tools, each with arguments of its own."""
    plan = [
        [{"tool": tool, "arguments": {"subject": f"{number}-{place}"}} for place, tool in enumerate(step)]
        for number, step in enumerate(steps)
    ]
    return json.dumps({"steps": plan})


def ask(client_turn_id: str, *steps: list[str], thread_id: str = "") -> Ask:
    """Return a turn as it is asked for."""
    return Ask(client_turn_id, message(*steps), "asst_1", thread_id, "t1", "u1")
