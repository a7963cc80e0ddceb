"""A small world in virtual time: one store, one tool, and as many processes of the proxy as a story needs.

Everything is the real thing but for the tool and the clock: guards, executions, leases, outbox, and a memory store by
the loop's time. At its end a world checks that nobody is left waiting and nothing is held (I4, I8).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from ledger import records
from ledger.fingerprint import fingerprint
from ledger.key import Key, ref_of
from ledger.records import Call, Record
from ledger.store import Phase, Store, Write
from ledger.stores.memory import MemoryStore
from policies.model import Match, ResultRules, Retry, Timeouts, ToolPolicy
from proxy.answer import Answer
from proxy.arrival import Arrival
from proxy.books import Books
from proxy.forward import Origin, Outbound
from proxy.guard import Guard, Look
from proxy.leases import Leases
from proxy.log import Log
from proxy.metrics import Metrics
from proxy.works import Works
from tests.proxy.gate import Gate, Hub, View, Wrong
from tests.proxy.scripted import ScriptedForward, Tool

LEASE_MS = 15_000
CLOSE_S = 200
"""Longer than anything is listened to."""

EPOCH_MS = 1_700_000_000_000
POLICY = ToolPolicy(
    tool="create_ticket",
    match=Match("/tools/create_ticket"),
    timeouts=Timeouts(upstream_ms=10_000, hold_ms=30_000, late_ms=60_000),
    result=ResultRules(retention_ms=600_000, remember_ms=3_600_000),
    retry=Retry(attempts=1),
)
"""The usual policy with shorter times: the tool has 10 s and is listened to for a minute more."""


def clock_ms() -> int:
    """Return the loop's time as a store's clock tells it."""
    return EPOCH_MS + round(asyncio.get_running_loop().time() * 1_000)


def arrival(
    call: str = "call_1", *, body: bytes = b'{"subject": "printer"}', policy: ToolPolicy = POLICY,
    patience_s: float | None = None, principal: str | None = None, method: bytes = b"POST",
    target: bytes = b"/tools/create_ticket", tenant: str = "-", gone: asyncio.Event | None = None,
) -> Arrival:  # fmt: skip
    """Return an attempt at the tool call `call`; once `gone` is set its caller has hung up."""
    ref = ref_of(Key(tenant, policy.tool, "header:x-run-id header:x-tool-call-id", ("run_1", call)))
    outbound = Outbound(Origin("http", "tool", 80), method, target, ((b"X-Tool-Call-Id", call.encode()),), body)
    return Arrival(
        policy,
        ref,
        Call(tenant=tenant, tool=policy.tool, run_id="run_1", tool_call_id=call),
        fingerprint(method, target, body, (), principal, json_body=True),
        outbound,
        gone.is_set if gone is not None else lambda: False,
        None if patience_s is None else round(patience_s * 1_000),
    )


async def guarded(guard: Guard, asked: Arrival) -> Answer:
    """Answer an attempt as the data port has it answered."""
    told: asyncio.Future[Answer | Coroutine[Any, Any, Answer]] = asyncio.get_running_loop().create_future()

    def tell(look: Look) -> None:
        given = look()
        if not told.done():
            told.set_result(given)
        elif not isinstance(given, Answer):
            given.close()  # whoever asked has been cancelled

    if not guard.begin(asked, tell):
        return await guard.call(asked)
    given = await told
    return given if isinstance(given, Answer) else await given


class Process:
    """One process of the proxy: works, guard and leases over its own view of the store."""

    def __init__(self, name: str, store: Store, hub: Hub, tool: Tool, plan: dict[int, Wrong] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.gate = Gate(plan)
        self.view = View(store, hub, self.gate)
        self.metrics = Metrics()
        self._log_fd = os.memfd_create(name)
        self.log = Log(self._log_fd, level="debug", now=loop.time)
        numbers = itertools.count(1)
        books = Books(self.view, self.metrics, lambda: f"{name}-{next(numbers)}", LEASE_MS)
        self.works = Works(
            books, ScriptedForward(tool, self.gate), self.metrics, self.log, clock=loop.time, now_ms=clock_ms,
            chance=lambda: 0.5,
        )  # fmt: skip
        self.guard = Guard(self.works)
        self.leases = Leases(self.works, LEASE_MS, lambda: 0.5)
        self._leases_task = loop.create_task(self.leases.run())
        self._asked: list[asyncio.Task[Answer]] = []

    def ask(self, asked: Arrival | None = None) -> asyncio.Task[Answer]:
        """Let a request arrive; the task ends with its answer."""
        task = asyncio.get_running_loop().create_task(guarded(self.guard, asked or arrival()))
        self._asked.append(task)
        return task

    async def answer(self, asked: Arrival | None = None, *, within_s: float = 200.0) -> Answer:
        """Let a request arrive and return its answer. Fails if there is none in time (I4)."""
        async with asyncio.timeout(within_s):
            return await self.ask(asked)

    def die(self) -> None:
        """kill -9: nothing of this process reaches the world any more."""
        self.gate.died.set()

    def stand_still(self) -> None:
        """SIGSTOP, as far as others see it: no lease is renewed from here on."""
        self._leases_task.cancel()

    def go_on(self) -> None:
        """SIGCONT."""
        self._leases_task = asyncio.get_running_loop().create_task(self.leases.run())

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the log's lines so far, those of one event only if it is named."""
        self.log.flush()
        size = os.lseek(self._log_fd, 0, os.SEEK_END)
        lines = [json.loads(line) for line in os.pread(self._log_fd, size, 0).splitlines()]
        return [line for line in lines if name in {"", line["event"]}]

    def count(self, metric: str, **labels: str) -> float:
        """Return a metric's value, 0 if it was never touched."""
        return self.metrics.registry.get_sample_value(metric, labels) or 0.0

    async def close(self) -> None:
        """Stop, and check that a living process holds nothing any more once its last connection is given up."""
        for _ in range(CLOSE_S):
            if self.gate.died.is_set() or not self.works.everyone():
                break
            await asyncio.sleep(1)
        await self.works.prober.close()
        self._leases_task.cancel()
        await asyncio.gather(self._leases_task, return_exceptions=True)
        if not self.gate.died.is_set():
            assert all(task.done() for task in self._asked), "a caller is still waiting"
            assert self.works.everyone() == []
            assert self.works.wakeups.waiting == {}
            assert self.guard.room.waiting == 0
            assert not any(self.works.in_flight.values())
            assert len(self.works.outbox) == 0
        self.log.flush()
        os.close(self._log_fd)


class World:
    """A store, a tool and some processes; `a` and `b` are there from the start."""

    def __init__(self, store: Store, others: Store | None = None) -> None:
        """`others` is the same store as b sees it, if that makes a difference."""
        self.store = store
        self.stores = [store] if others is None or others is store else [store, others]
        self.tool = Tool()
        self._disturbed = 0
        self._hubs = [Hub(store) for store in self.stores]
        self.processes: list[Process] = []
        self.a = self.start("a")
        self.b = self.start("b", view=1)

    def start(self, name: str, plan: dict[int, Wrong] | None = None, *, view: int = 0) -> Process:
        """Start another process, over one of the views of the store."""
        index = view % len(self.stores)
        process = Process(name, self.stores[index], self._hubs[index], self.tool, plan)
        self.processes.append(process)
        return process

    async def record(self, asked: Arrival | None = None) -> Record | None:
        """Return what stands in the store of a call."""
        ref = (asked or arrival()).ref
        present = await self.store.read(ref)
        return None if present is None else records.decode(present.record, ref.operation)

    async def forget(self) -> None:
        """Lose everything, as a store that was flushed or restored from nothing."""
        assert isinstance(self.store, MemoryStore)
        self.store.wipe()

    async def disturb(self, asked: Arrival | None = None) -> None:
        """Write what stands once more, under another version."""
        ref = (asked or arrival()).ref
        present = await self.store.read(ref)
        assert present is not None
        self._disturbed += 1
        phase: Phase = "free" if present.lease_left_ms is None else "in_flight"
        again = Write(f"disturbed-{self._disturbed}", present.record, phase, present.lease_left_ms)
        await self.store.swap(ref, present.version, again)

    async def spoil(self, asked: Arrival | None = None) -> None:
        """Put bytes in a record's place that nobody can read."""
        ref = (asked or arrival()).ref
        present = await self.store.read(ref)
        spoiled = Write(f"spoiled-{clock_ms()}", b"\xc1 not a record", "in_flight", lease_ms=LEASE_MS)
        await self.store.swap(ref, present.version if present else None, spoiled)


@contextlib.asynccontextmanager
async def world(store: Store | None = None) -> AsyncIterator[World]:
    """Yield a world on a memory store of its own, and check in the end that nothing is left of what happened in it."""
    kept = store or MemoryStore(clock_ms)
    await kept.start()
    made = World(kept)
    yield made
    for process in made.processes:
        await process.close()
    await kept.close()


def field(answer: Answer, name: str) -> str | None:
    """Return a header field of an answer."""
    return next((value.decode() for key, value in answer.headers if key.decode().lower() == name.lower()), None)


def outcome(answer: Answer) -> str | None:
    """Return `Holdfast-Outcome`."""
    return field(answer, "Holdfast-Outcome")


def told(answer: Answer) -> tuple[int, str, str | None]:
    """Return what an answer says in short: status, problem (empty for a tool's reply) and outcome."""
    problem = ""
    if field(answer, "Content-Type") == "application/problem+json":
        problem = json.loads(answer.body)["type"].rpartition(":")[2]
    assert problem == answer.problem
    return answer.status, problem, outcome(answer)
