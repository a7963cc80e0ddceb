"""What a contract test may do with a coordinator's store: use it, use it from another process, let its time pass."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import Protocol

from coordinator.store import Put, RunStore, Standing, Then, Written


class RunBench(Protocol):
    """One started store under test."""

    @property
    def store(self) -> RunStore:
        """The store, started and empty."""

    @property
    def peer(self) -> RunStore:
        """The same data through another process's eyes; the store itself where only one process may use it."""

    async def pass_ms(self, ms: int) -> None:
        """Return once at least `ms` more milliseconds have passed by the store's clock."""


LONG_MS = 600_000
"""Longer than any test."""
SHORT_MS = 30
"""Short enough to be waited for, for what is over by the next look."""
WHILE_MS = 1_500
"""Long enough for some calls on a busy machine, for what must not be over by then, and is waited for after."""

_versions = itertools.count(1)


def a_put(
    key: str = "run_1",
    expected: str | None = None,
    *,
    record: bytes = b"record",
    label: str = "",
    owner: str = "",
    then: Then = "hurry",
    in_ms: int | None = None,
    forget_ms: int | None = None,
) -> Put:
    """Return a write of its own version."""
    return Put(key, expected, f"v{next(_versions)}", record, label, owner, then, in_ms, forget_ms)


def idle(key: str = "run_1", expected: str | None = None, *, label: str = "", record: bytes = b"record") -> Put:
    """Return a write after which nobody owns the place and it never falls due."""
    return a_put(key, expected, record=record, label=label, then="release")


async def put(store: RunStore, *puts: Put) -> None:
    """Swap `puts` in, together."""
    assert await store.swap(*puts) == Written()


async def there(store: RunStore, key: str = "run_1") -> Standing:
    """Return what stands at `key`, where something must."""
    standing = await store.read(key)
    assert standing is not None
    return standing


async def taken(store: RunStore, owner: str = "a", *, limit: int = 100, visibility_ms: int = LONG_MS) -> list[str]:
    """Take what is due, and return the keys."""
    return [standing.key for standing in await store.take(owner, limit, visibility_ms)]


def keys_of(places: Iterable[Standing]) -> list[str]:
    """Return the keys alone."""
    return [place.key for place in places]


class Ear:
    """Hears an owner's nudges."""

    def __init__(self, store: RunStore, owner: str) -> None:
        self.heard: list[str] = []
        self._came = asyncio.Event()
        store.listen(owner, self._hear)

    def _hear(self, key: str) -> None:
        self.heard.append(key)
        self._came.set()

    async def hears(self, key: str) -> None:
        """Return once `key` has been heard."""
        async with asyncio.timeout(10):
            while key not in self.heard:
                self._came.clear()
                await self._came.wait()
