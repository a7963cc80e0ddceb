"""What a contract test may do with a store: use it, use it from another process, and let its time pass."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Protocol

from ledger.key import Ref
from ledger.store import EffectWrite, Phase, Present, Store, Write, Written


class StoreBench(Protocol):
    """One started store under test."""

    @property
    def store(self) -> Store:
        """The store, started and empty."""

    @property
    def peer(self) -> Store:
        """The same data through another process's eyes; the store itself where only one process may use it."""

    async def wipe(self) -> None:
        """Have the store lose all that it remembers, as by a flush or an empty copy put in its place; return when it
        can be used again."""

    async def pass_ms(self, ms: int) -> None:
        """Return once at least `ms` more milliseconds have passed by the store's clock."""


class SteppedClock:
    """A store's clock that stands still until it is moved."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Return the time that was set."""
        return self.now_ms


_versions = itertools.count(1)


def a_write(
    phase: Phase = "in_flight",
    *,
    record: bytes = b"record",
    lease_ms: int | None = None,
    result: bytes | None = None,
    result_ms: int | None = None,
    forget_ms: int | None = None,
    effect: EffectWrite | None = None,
) -> Write:
    """Return a write of its own version; in flight without a word about a lease, it has one of a minute."""
    if phase == "in_flight" and lease_ms is None:
        lease_ms = 60_000
    return Write(f"v{next(_versions)}", record, phase, lease_ms, result, result_ms, forget_ms, effect)


def a_ref(operation: str = "op_1", scope: str = "acme/create_ticket") -> Ref:
    """Return the place of an operation of the usual scope."""
    return Ref(scope, operation)


async def put(store: Store, ref: Ref, *writes: Write) -> None:
    """Swap `writes` in, one after the other, over whatever stands."""
    standing = await store.read(ref)
    version = standing.version if standing else None
    for write in writes:
        assert await store.swap(ref, version, write) == Written()
        version = write.version


async def there(store: Store, ref: Ref) -> Present:
    """Return what stands at `ref`, where something must."""
    standing = await store.read(ref)
    assert standing is not None
    return standing


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float = 30.0) -> None:
    """Return as soon as `condition` holds; fail when it does not hold in time."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 -- a store, maybe on a server, has no event to wait for
            await asyncio.sleep(0.005)
