"""Many callers who claim and settle without pause, each asking again with the same version for as long as it must."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from ledger.key import Ref
from ledger.store import Store, StoreUnavailable, Write, Written
from tests.ledger.store_bench import a_write

AGAIN_S = 0.02
"""Between two tries of one caller: servers that are away are not asked in a loop."""


class Storm:
    """Runs within `async with`. `scopes` are taken in turn, `replicas` must have each write."""

    def __init__(
        self, store: Store, callers: int, replicas: int = 0, scopes: tuple[str, ...] = ("acme/create_ticket",)
    ) -> None:
        self.lost: list[Ref] = []
        """Calls whose settlement found the claim gone."""
        self.outages = Counter[str]()
        """How often a caller was told that the store is unavailable, by scope."""
        self._store = store
        self._callers = callers
        self._replicas = replicas
        self._scopes = scopes
        self._kept: dict[Ref, str] = {}
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()

    @property
    def settled(self) -> int:
        """How many calls have been settled, acknowledged."""
        return len(self._kept)

    async def settled_more_than(self, number: int) -> bool:
        """Say so."""
        return self.settled > number

    async def met_an_outage(self) -> bool:
        """Say whether a caller has."""
        return self.outages.total() > 0

    async def check_all_is_kept(self) -> None:
        """Every settlement that was acknowledged stands."""
        for ref, version in self._kept.items():
            standing = await self._store.read(ref)
            assert standing is not None, ref
            assert standing.version == version, ref

    async def __aenter__(self) -> Self:
        """Begin."""
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(self._callers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every caller finish its call; give up at once where the test has failed."""
        self._stop.set()
        if error is not None:
            for task in self._tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*self._tasks, return_exceptions=True)
            return
        async with asyncio.timeout(40):
            await asyncio.gather(*self._tasks)

    async def _call(self, caller: int) -> None:
        while not self._stop.is_set():
            number = next(self._numbers)
            ref = Ref(self._scopes[number % len(self._scopes)], f"op_{caller}_{number}")
            claim, done = a_write(), a_write("completed", result=b"201", result_ms=600_000)
            assert await self._swap(ref, None, claim) == Written()
            if await self._swap(ref, claim.version, done) == Written():
                self._kept[ref] = done.version
            else:
                self.lost.append(ref)

    async def _swap(self, ref: Ref, expected: str | None, write: Write) -> object:
        write = replace(write, replicas=self._replicas)
        while True:
            try:
                return await self._store.swap(ref, expected, write)
            except StoreUnavailable:
                self.outages[ref.scope] += 1
                await asyncio.sleep(AGAIN_S)
