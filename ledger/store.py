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

Phase = Literal["in_flight", "unknown", "completed", "free", "alias"]
Hold = Literal["claim", "keep", "window", "drop"]
Listener = Callable[[str], None]


class StoreUnavailable(Exception):
    """The store did not answer in time, refused the write, or cannot be reached. The message says which."""


class EffectWrite(Struct, frozen=True, gc=False):
    """What a write does to its operation's effect key, in the same atomic step. An effect key is held by one
    operation of its scope at a time, without end or until a moment of the store's clock.

    key        the effect key's digest.
    hold       `claim`: the write takes place only if nobody holds the key but the operation itself or `over`; from then
               on the operation does, without end. `keep`, `window`, `drop`: the write takes place in any case, and if
               the operation holds the key (for the first two: or nobody does) it holds it without end, for
               `window_ms` from the store's now, or no longer.
    over       whose hold a claim may take over, since who claims has seen that it is done with.
    """

    key: str
    hold: Hold
    window_ms: int = 0
    over: str = ""


class Write(Struct, frozen=True, gc=False):
    """The next content of one record's place.

    version    random and never used before: the identity of this write.
    phase      which index the place belongs in (`unknown` ones are counted, and listed oldest first).
    lease_ms   when set, the place falls due this long after the store's now, unless renewed; when not, it never does.
    result     the stored reply; kept for `result_ms`, after which `read` and `swap` hand back None for it.
    forget_ms  when set, the whole place becomes absent this long after the store's now.
    effect     what becomes of the operation's effect key.
    replicas   how many replicas must have the write before it counts as written (`StoreUnavailable` otherwise); stores
               without replicas take no notice.
    """

    version: str
    record: bytes
    phase: Phase
    lease_ms: int | None = None
    result: bytes | None = None
    result_ms: int | None = None
    forget_ms: int | None = None
    effect: EffectWrite | None = None
    replicas: int = 0


class Present(Struct, frozen=True, gc=False):
    """What stands at a place. `lease_left_ms` is by the store's clock: None without a lease, zero or less once
    lapsed."""

    version: str
    record: bytes
    result: bytes | None
    lease_left_ms: int | None


class Written(Struct, frozen=True):
    """The swap took place, now or when it was sent the first time."""


class Held(Struct, frozen=True, gc=False):
    """A claim did not take place, because `operation` holds the effect key; `present` is what stands there."""

    operation: str
    present: Present | None


class Listed(Struct, frozen=True):
    """One place of a listing."""

    ref: Ref
    version: str
    record: bytes
    has_result: bool
    lease_left_ms: int | None


class Page(Struct, frozen=True):
    """Part of a listing. `cursor` asks for the next part; empty after the last."""

    places: list[Listed]
    cursor: str


class Beat(Struct, frozen=True):
    """What a heartbeat brought back: this process's count of them as the store remembers it, and for how many
    milliseconds more writes are to be refused because somebody saw the store's memory go back (0: not at all)."""

    count: int
    refusing_ms: int


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

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | Held | None:
        """Replace what stands at `ref` if its version is `expected` (None: if nothing stands there).

        Returns `Written`, or what stands there instead: `Present`, or None for nothing; or, where versions agree but
        `write.effect` claims a key that another operation holds, `Held`.
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

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """List places of every scope, all or those in `phase`: about `limit` after `cursor` (empty: from the start).

        `unknown` and `in_flight` come from indexes: the longest there first, and the one whose lease ends next; others
        in no order. A place that changes while one lists may be missed or come twice. A page may be empty and still
        have a cursor. Raises `ValueError` for a cursor that this store did not give out for the same listing.
        """

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """Count one heartbeat of `process`. If the store remembers fewer than the `acknowledged` ones, its memory went
        back: from now on, and for `refuse_ms` or until `accept`, every process is told to refuse. The count that comes
        back, lower or not, is what the process acknowledges from then on."""

    async def accept(self) -> None:
        """An operator says that what the store lost is accepted: the refusal ends for every process."""


class UnfitStore(Exception):
    """The store can be reached but must not hold claims (it may evict, another process owns the file, too old)."""
