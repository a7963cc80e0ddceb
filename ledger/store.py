"""The store port: compare-and-swap of one record, a lease by the store's clock, and a way to be told of changes.

A store never looks inside a record and never decides; `ledger.transitions` does. Each implementation passes
`tests/ledger/test_store_contract.py`. What all of them guarantee:

* `swap` is atomic. Sent twice with the same `write.version` it has the effect of one, and answers `Written` both times
  as long as nobody wrote in between.
* A `Written` that came back is durable as far as the store can be (SQLite: on disk; Redis: as its persistence says).
* The record, its result, its place in the indexes and the wake-up of watchers change together or not at all.
* Every call ends within the store deadline, with an answer or with `StoreUnavailable`. After `StoreUnavailable` a write
  may or may not have happened; asking again with the same version is safe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from ledger.key import Ref

Phase = Literal["in_flight", "unknown", "completed", "free"]
Listener = Callable[[str], None]


class StoreUnavailable(Exception):
    """The store did not answer in time, refused the write, or cannot be reached. The message says which."""


class Write(Struct, frozen=True):
    """The next content of one record's place.

    version    random and never used before: the identity of this write.
    phase      which index the place belongs in (`unknown` ones are counted, and listed oldest first).
    lease_ms   when set, the place falls due this long after the store's now, unless renewed; when not, it never does.
    result     the stored reply; kept for `result_ms`, after which `read` and `swap` hand back None for it.
    forget_ms  when set, the whole place becomes absent this long after the store's now.
    """

    version: str
    record: bytes
    phase: Phase
    lease_ms: int | None = None
    result: bytes | None = None
    result_ms: int | None = None
    forget_ms: int | None = None


class Present(Struct, frozen=True):
    """What stands at a place. `lease_left_ms` is by the store's clock: None without a lease, zero or less once
    lapsed."""

    version: str
    record: bytes
    result: bytes | None
    lease_left_ms: int | None


class Written(Struct, frozen=True):
    """The swap took place, now or when it was sent the first time."""


class UnknownCount(Struct, frozen=True):
    """How many records of a scope are in phase `unknown`, and how long the oldest has been, in milliseconds."""

    scope: str
    count: int
    oldest_age_ms: int


class Store(Protocol):
    """See the module's docstring for what is guaranteed."""

    name: str
    """`memory`, `sqlite` or `redis`: the label in metrics and logs."""

    async def start(self) -> None:
        """Connect, check that the store is fit for claims, and adopt what a previous owner left. Raises
        `StoreUnavailable` when it cannot be reached and `ledger.store.UnfitStore` when it must not be used."""

    async def close(self) -> None:
        """Let go of every resource. Writes under way are finished or fail with `StoreUnavailable`."""

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | None:
        """Replace what stands at `ref` if its version is `expected` (None: if nothing stands there).

        Returns `Written`, or what stands there instead: `Present`, or None for nothing.
        """

    async def read(self, ref: Ref) -> Present | None:
        """Return what stands at `ref`."""

    async def watch(self, ref: Ref) -> Present | None:
        """Ask that listeners be told of the next swap at `ref`, by any process, then return what stands there now."""

    def listen(self, listener: Listener) -> None:
        """Call `listener(operation)` on the event loop after each watched swap (also spuriously). One per process;
        a lost message is possible (a dropped subscription), so callers poll now and then."""

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """Extend the lease if `version` still stands, counted from the store's now; say whether it did."""

    async def due(self, limit: int) -> list[Ref]:
        """Return up to `limit` places whose lease has lapsed, of every scope, the longest lapsed first."""

    async def unknowns(self) -> list[UnknownCount]:
        """Count the places in phase `unknown`, by scope, of the whole store."""


class UnfitStore(Exception):
    """The store can be reached but must not hold claims (it may evict, another process owns the file, too old)."""
