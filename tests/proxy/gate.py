"""Where a process meets the world: its store and its network, each step counted, each able to go wrong.

A process that dies does nothing more: whatever it asks of the world from then on is never answered. What it had asked
for may still happen (`DIES_AFTER`), which is what makes crashes interesting.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ledger.key import Ref
from ledger.store import (
    Beat,
    Held,
    Listener,
    Page,
    Phase,
    Present,
    Store,
    StoreUnavailable,
    UnknownCount,
    Write,
    Written,
)

T = TypeVar("T")


class Wrong(enum.Enum):
    """What can befall one step."""

    DIES_BEFORE = "the process dies before it"
    DIES_AFTER = "the process dies after it, before it learns the answer"
    FAILS_BEFORE = "the store refuses"
    FAILS_AFTER = "the store does it, and its answer is lost"


class Gate:
    """Counts the steps of one process. `plan` says what goes wrong, by the number of the step (from 1)."""

    def __init__(self, plan: dict[int, Wrong] | None = None) -> None:
        self.plan = plan or {}
        self.steps: list[str] = []
        self.died = asyncio.Event()
        self.outage = False

    def next(self, name: str) -> Wrong | None:
        """Count a step and say what befalls it."""
        self.steps.append(name)
        return self.plan.get(len(self.steps))

    async def alive(self) -> None:
        """Return, if the process is alive."""
        if self.died.is_set():
            await asyncio.Event().wait()

    async def dies(self) -> None:
        """End the process here."""
        self.died.set()
        await self.alive()

    async def network(self, name: str) -> None:
        """Pass a step of the network: what the store's failures do to a step, they cannot do to this one."""
        await self.alive()
        if self.next(name) in {Wrong.DIES_BEFORE, Wrong.DIES_AFTER}:
            await self.dies()


class Hub:
    """The one listener of a store that several processes share in a test."""

    def __init__(self, store: Store) -> None:
        self.listeners: list[Listener] = []
        store.listen(self._tell)

    def _tell(self, operation: str) -> None:
        for listener in self.listeners:
            listener(operation)


class View:
    """One process's sight of a store: a `Store` itself, behind the process's gate.

    pause_s  what a round trip takes, half of it before the store acts.
    deaf     wake-ups are lost.
    before   is run before each swap: whoever is to come first.
    """

    def __init__(self, store: Store, hub: Hub, gate: Gate, pause_s: float = 0.0005) -> None:
        self._store = store
        self._hub = hub
        self._gate = gate
        self.pause_s = pause_s
        self.deaf = False
        self.before: Callable[[], Awaitable[None]] | None = None
        self.name = store.name

    async def start(self) -> None:
        """Nothing: the test has started the store."""

    async def close(self) -> None:
        """Nothing: the test closes the store."""

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | Held | None:
        """See `ledger.store.Store.swap`."""
        if self.before is not None:
            await self.before()
        return await self._ask("swap", lambda: self._store.swap(ref, expected, write))

    async def read(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.read`."""
        return await self._ask("read", lambda: self._store.read(ref))

    async def watch(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.watch`."""
        return await self._ask("watch", lambda: self._store.watch(ref))

    def listen(self, listener: Listener) -> None:
        """See `ledger.store.Store.listen`."""
        self._hub.listeners.append(lambda operation: None if self.deaf else listener(operation))

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """See `ledger.store.Store.renew`."""
        return await self._ask("renew", lambda: self._store.renew(ref, version, lease_ms))

    async def due(self, limit: int) -> list[Ref]:
        """See `ledger.store.Store.due`."""
        return await self._ask("due", lambda: self._store.due(limit))

    async def unknowns(self) -> list[UnknownCount]:
        """See `ledger.store.Store.unknowns`."""
        return await self._ask("unknowns", self._store.unknowns)

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """See `ledger.store.Store.scan`."""
        return await self._ask("scan", lambda: self._store.scan(phase, cursor, limit))

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """See `ledger.store.Store.beat`."""
        return await self._ask("beat", lambda: self._store.beat(process, acknowledged, refuse_ms))

    async def accept(self) -> None:
        """See `ledger.store.Store.accept`."""
        await self._ask("accept", self._store.accept)

    async def _ask(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        gate = self._gate
        await gate.alive()
        wrong = gate.next(name)
        if wrong is Wrong.DIES_BEFORE:
            await gate.dies()
        await asyncio.sleep(self.pause_s / 2)
        if gate.outage or wrong is Wrong.FAILS_BEFORE:
            raise StoreUnavailable("the store is away")
        answer = await call()
        if wrong is Wrong.DIES_AFTER:
            await gate.dies()
        await asyncio.sleep(self.pause_s / 2)
        await gate.alive()
        if wrong is Wrong.FAILS_AFTER:
            raise StoreUnavailable("the store's answer was lost")
        return answer
