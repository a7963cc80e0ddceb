"""The proxy's hand on the store: records in, records out, every round trip timed and counted.

Between pure judgement (`ledger.transitions`) and bytes (`ledger.store`). It decides nothing and retries nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from msgspec import Struct

from ledger import records, result, writes
from ledger.key import Ref
from ledger.records import CorruptRecord, InFlight, Record
from ledger.result import Result
from ledger.sealing import Sealing, Unsealable, is_sealed
from ledger.store import Beat, Held, Page, Phase, Present, Store, UnknownCount, Write, Written
from policies.model import ResultRules
from proxy.metrics import Metrics

Got = TypeVar("Got")


class Standing(Struct, frozen=True, gc=False):
    """What stands at a place, read. `stored` is the result for writing it back: opened, if it was encrypted and can
    be."""

    version: str
    record: Record
    stored: bytes | None
    lease_left_ms: int | None

    @property
    def result(self) -> Result | None:
        """The stored reply, if there is one that can be read here. Raises `CorruptRecord`."""
        return readable(self.stored)


class Holder(Struct, frozen=True):
    """A claim met an effect key that `operation` holds; `standing` is what stands there, None for nothing or for what
    cannot be read (`foreign` says why)."""

    operation: str
    standing: Standing | None
    foreign: str = ""


class Books:
    """Swaps, reads and renewals of records. `new_id` yields values never used before: tokens and versions; `sealing`
    encrypts results on their way to the store. One that cannot be opened is told to `unopened`, with the operation and
    why, and goes on as it is: it is there, and nobody here can read it."""

    def __init__(
        self, store: Store, metrics: Metrics, new_id: Callable[[], str], lease_ms: int, sealing: Sealing | None = None
    ) -> None:
        self.store = store
        self.new_id = new_id
        self.lease_ms = lease_ms
        self.unopened: Callable[[str, str], None] = lambda _operation, _why: None
        self._sealing = sealing
        self._metrics = metrics
        self._durations = metrics.store_duration

    def claim(
        self, ref: Ref, expected: str | None, record: InFlight, rules: ResultRules, *, over: str = "", replicas: int = 0
    ) -> Coroutine[Any, Any, str | Standing | Holder | None]:
        """Put a claim in place of version `expected`: its version is its token. As `swap`, and `Holder` where another
        operation than `over` holds its effect key."""
        write = writes.write_of(record, record.token, rules, self.lease_ms, over=over, replicas=replicas)
        return self._swap("claim", ref, expected, write)

    def swap(
        self, op: str, ref: Ref, expected: str | None, record: Record, rules: ResultRules, *,
        version: str = "", stored: bytes | None = None,
        replicas: int = 0,
    ) -> Coroutine[Any, Any, str | Standing | None]:  # fmt: skip
        """Put `record` in place of version `expected`; `op` names the round trip in metrics.

        Returns the new version, or what stands there instead (None: nothing). Raises `StoreUnavailable`, after which
        the write may or may not have happened, and `CorruptRecord`.
        """
        if stored is not None and self._sealing is not None and not is_sealed(stored):
            stored = self._sealing.seal(ref.operation, stored)
        write = writes.write_of(record, version or self.new_id(), rules, self.lease_ms, stored, replicas=replicas)
        return cast("Coroutine[Any, Any, str | Standing | None]", self._swap(op, ref, expected, write))

    async def _swap(self, op: str, ref: Ref, expected: str | None, write: Write) -> str | Standing | Holder | None:
        # Timed here and not by `_timed`: the hot path has one coroutine less.
        start = time.perf_counter()
        try:
            answer = await self.store.swap(ref, expected, write)
        except BaseException:
            self._metrics.store_failed(op)
            raise
        self._metrics.store_duration.child(op).observe(time.perf_counter() - start)
        self._metrics.store_answered()
        if isinstance(answer, Written):
            return write.version
        if isinstance(answer, Held):
            return self._holder(answer, ref)
        return None if answer is None else self._standing(answer, ref)

    async def read(self, ref: Ref) -> Standing | None:
        """Return what stands at `ref`."""
        present = await self._timed("read", self.store.read(ref))
        return None if present is None else self._standing(present, ref)

    async def watch(self, ref: Ref) -> Standing | None:
        """Subscribe to the next change at `ref`, then return what stands there."""
        present = await self._timed("watch", self.store.watch(ref))
        return None if present is None else self._standing(present, ref)

    async def renew(self, ref: Ref, version: str) -> bool:
        """Extend a lease; say whether `version` still stood."""
        return await self._timed("renew", self.store.renew(ref, version, self.lease_ms))

    async def _timed(self, op: str, call: Awaitable[Got]) -> Got:
        """Time one round trip; count it as an error if it fails. To be cancelled is our doing, not the store's."""
        start = time.perf_counter()
        try:
            got = await call
        except Exception:
            self._metrics.store_failed(op)
            raise
        self._durations.child(op).observe(time.perf_counter() - start)
        self._metrics.store_answered()
        return got

    async def due(self, limit: int) -> list[Ref]:
        """Return places whose lease has lapsed."""
        return await self._timed("due", self.store.due(limit))

    async def unknowns(self) -> list[UnknownCount]:
        """Count what is unknown in the whole store."""
        return await self._timed("unknowns", self.store.unknowns())

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """List places. Raises `ValueError` for a cursor of another listing."""
        return await self._timed("scan", self.store.scan(phase, cursor, limit))

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """Count one heartbeat."""
        return await self._timed("beat", self.store.beat(process, acknowledged, refuse_ms))

    async def accept(self) -> None:
        """End the refusal after lost memory."""
        await self._timed("accept", self.store.accept())

    def _standing(self, present: Present, ref: Ref) -> Standing:
        stored = present.result
        record = records.decode(present.record, ref.operation)
        if stored is not None and is_sealed(stored):
            stored = self._opened(ref.operation, stored)
        return Standing(present.version, record, stored, present.lease_left_ms)

    def _opened(self, operation: str, stored: bytes) -> bytes:
        if self._sealing is None:
            self.unopened(operation, "it is encrypted, and no key was given")
            return stored
        try:
            return self._sealing.open(operation, stored)
        except Unsealable as error:
            self.unopened(operation, str(error))
            return stored

    def _holder(self, held: Held, ref: Ref) -> Holder:
        """Return the holder; one that cannot be read holds all the same."""
        if held.present is None:
            return Holder(held.operation, None)
        try:
            return Holder(held.operation, self._standing(held.present, Ref(ref.scope, held.operation)))
        except CorruptRecord as error:
            return Holder(held.operation, None, str(error))


def readable(stored: bytes | None) -> Result | None:
    """Return a stored reply, if there is one that can be read here. Raises `CorruptRecord`."""
    return None if stored is None or is_sealed(stored) else result.decode(stored)
