"""A whole coordinator in virtual time: the memory store, the API's twin, and a proxy with tools behind it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from coordinator.facts import Facts
from coordinator.inbox import Inbox
from coordinator.means import Limits, Means
from coordinator.metrics import Metrics
from coordinator.records import Run, decode_run, run_key
from coordinator.stores.memory import MemoryRunStore
from coordinator.tools import Ask, Told
from coordinator.turns import Turns
from coordinator.watching import Watching
from evaluation.assistants.life import Life, Pace
from evaluation.assistants.things import Wanted
from process.log import Log
from tests.coordinator.api_twin import ApiTwin
from tests.coordinator.weather import Exposed, Weather
from tests.proxy.virtual import settled

T = TypeVar("T")
LOOK_S = 0.01
START_MS = 1_764_000_000_000


def now_ms() -> int:
    """Return the wall clock of virtual time."""
    return START_MS + int(asyncio.get_running_loop().time() * 1_000)


class Tooling:
    """A proxy and its tools: each known id is executed once, whoever asks and however often, and replayed. Who is
    cancelled while it asks leaves the execution to itself, as the real one does."""

    def __init__(self) -> None:
        self.executed: list[tuple[str, str, str]] = []
        """Known id, tool and arguments of each execution, in order: the tools' own ledger."""
        self.asked: list[Ask] = []
        self.takes_s: dict[str, float] = {}
        """How long a tool works; a tenth of a second unless told."""
        self.told: dict[str, list[Told]] = {}
        """What the next calls of a tool are told in place of its answer."""
        self.output: dict[str, str] = {}
        """What a tool answers, where that is known beforehand."""
        self._under_way: dict[tuple[str, str], asyncio.Task[str]] = {}

    async def call(self, ask: Ask, until: float) -> Told:
        """See the port."""
        self.asked.append(ask)
        told = self.told.get(ask.tool)
        if told:
            return told.pop(0)
        key = (ask.run_id, ask.tool_call_id)
        work = self._under_way.get(key)
        outcome = "executed" if work is None else "replayed" if work.done() else "joined"
        if work is None:
            work = self._under_way[key] = asyncio.ensure_future(self._work(ask))
        try:
            async with asyncio.timeout_at(until):
                output = await asyncio.shield(work)
        except TimeoutError:
            return Told("overdue", outcome="refused", problem="in-flight", status=409)
        return Told("answered", output, 201, outcome, f"op_{ask.tool_call_id}")

    async def _work(self, ask: Ask) -> str:
        await asyncio.sleep(self.takes_s.get(ask.tool, 0.1))
        self.executed.append((ask.tool_call_id, ask.tool, ask.arguments))
        told = json.dumps({"id": f"{ask.tool}-{len(self.executed)}", "for": json.loads(ask.arguments)})
        return self.output.get(ask.tool, told)

    async def close(self) -> None:
        """Stop working."""
        for work in self._under_way.values():
            work.cancel()


class Mortal:
    """A port as a process sees it that dies at its n-th touch: `even` n before the call, odd ones after it took effect
    and before its answer is heard. From then on nothing is done or heard any more."""

    def __init__(self, port: Any, life: Lifetime) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def touched(*args: Any, **kwargs: Any) -> Any:
            self._life.asked.append(name)
            await self._life.step()
            answer = await found(*args, **kwargs)
            await self._life.step()
            return answer

        return touched


class Lifetime:
    """How many more steps a process has; None for ever."""

    def __init__(self, left: int | None) -> None:
        self.left = left
        self.steps = 0
        self.asked: list[str] = []
        """What was asked of store, API and proxy, in order."""
        self.over = asyncio.Event()

    async def step(self) -> None:
        """Take one, or never return."""
        self.steps += 1
        if self.over.is_set() or (self.left is not None and self.steps > self.left):
            self.over.set()
            await asyncio.Event().wait()


class Replica:
    """One coordinator process. `kill` ends it between two steps of the loop, as kill -9 would; with `steps` it dies by
    itself after so many touches of the world outside."""

    def __init__(
        self, house: House, owner: str, elsewhere: frozenset[str] = frozenset(), steps: int | None = None
    ) -> None:
        numbers = itertools.count(1)
        self.lifetime, self.weather = Lifetime(steps), Weather()
        self.asked = self.lifetime.asked
        self.deaf = False
        """Whether the store's nudges get lost on their way."""
        ports = (Exposed(house.store, self.weather), house.api, house.tools)
        store, backend, tools = (Mortal(port, self.lifetime) for port in ports)
        self.means = Means(
            store=store, backend=backend, tools=tools, facts=Facts(), metrics=Metrics(),
            log=Log("holdfast-coordinator", house.log_fd), owner=owner, now_ms=now_ms,
            version=lambda: f"{owner}-{next(numbers)}", share=lambda: 0.5, limits=house.limits, elsewhere=elsewhere,
        )  # fmt: skip
        self.watching = Watching(self.means)
        self.turns = Turns(self.means, self.watching)
        self.inbox = Inbox(self.means, self.watching.nudged)
        store.listen(owner, self._nudged)
        work = (self.watching.take(self.turns.resume), self.watching.renew(), self.inbox.work())
        self.tasks = [asyncio.ensure_future(one) for one in work]

    def _nudged(self, key: str) -> None:
        if self.lifetime.over.is_set() or self.deaf:
            return
        self.watching.nudged(key)
        if not key:
            self.inbox.kick()

    async def kill(self) -> None:
        """End it without a word."""
        every = [*self.tasks, *self.watching._tasks, *self.turns._under_way.values()]
        for task in every:
            task.cancel()
        await asyncio.gather(*every, return_exceptions=True)


class House:
    """Everything around the replicas, and what outlasts them."""

    def __init__(self, limits: Limits, log_fd: int) -> None:
        self.limits = limits
        self.log_fd = log_fd
        self.store = MemoryRunStore(now_ms)
        self.life = Life(pace=lambda _: Pace(0.05, 0.2, 0.05))
        self.api = ApiTwin(self.life, lambda: now_ms() / 1_000)
        self.tools = Tooling()
        self.replicas: list[Replica] = []

    def replica(self, owner: str = "", elsewhere: frozenset[str] = frozenset(), steps: int | None = None) -> Replica:
        """Start one more replica."""
        replica = Replica(self, owner or f"replica-{len(self.replicas) + 1}", elsewhere, steps)
        self.replicas.append(replica)
        return replica

    async def record(self, run_id: str) -> Run:
        """Return a run as the store has it."""
        standing = await self.store.read(run_key("assistants", run_id))
        assert standing is not None
        return decode_run(standing.record)

    async def ended(self, run_id: str, within_s: float = 60.0, look_s: float = LOOK_S) -> Run:
        """Return a run's record once it says that the run is over; it is looked at each `look_s`."""
        async with asyncio.timeout(within_s):
            while True:
                record = await self.record(run_id)
                if record.over:
                    return record
                await asyncio.sleep(look_s)


@contextlib.asynccontextmanager
async def house(limits: Limits | None = None, log_fd: int = 2) -> AsyncIterator[House]:
    """Open a house without replicas; end whatever runs in it."""
    opened = House(limits or Limits(), log_fd)
    await opened.store.start()
    try:
        yield opened
    finally:
        for replica in opened.replicas:
            await replica.kill()
        await opened.tools.close()
        await settled()
        await opened.store.close()


def wanted(tool: str, **arguments: object) -> Wanted:
    """Return a call as the model asks for it."""
    return Wanted(tool, json.dumps(arguments))


async def looked_for(found: Callable[[], Awaitable[T]], look_s: float = LOOK_S) -> T:
    """Return what `found` finds, once it finds something; it looks each `look_s`."""
    while True:
        if thing := await found():
            return thing
        await asyncio.sleep(look_s)
