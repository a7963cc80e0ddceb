"""The coordinator's store port: places that are swapped by version, fall due and are owned; and a queue of results.

As with the ledger's store, nothing here looks inside a record or decides anything. Each implementation passes
`tests/coordinator/test_store_contract.py`. What all of them guarantee:

* `swap` is atomic over all its places: all are written or none. Sent twice with the same versions it has the effect of
  one, and answers `Written` both times as long as nobody wrote in between.
* A place has at most one owner at a time, until its visibility (by the store's clock) is over; then it is due, and
  whoever takes it owns it. Ownership keeps replicas out of each other's way and saves work; what is *correct* rests on
  versions alone, so an owner that has lost a place without knowing it can do no harm.
* What `post` accepted is delivered until it is `done` with or buried as a dead letter, whichever process dies.
* Every call ends within the store's deadline, with an answer or with `ledger.store.StoreUnavailable`. After that a
  write may or may not have happened; asking again with the same versions, entry id or webhook id is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Listener = Callable[[str], None]

Then = Literal["keep", "release", "hurry"]


class Put(Struct, frozen=True):
    """The next content of one place.

    key        which place.
    expected   the version that must stand there; None: nothing may.
    version    random and never used before: the identity of this write.
    record     the bytes.
    label      what `scan` and `counts` sort by (a run's status, `turn`, …); empty: in no listing.
    owner      who writes; empty for who owns nothing and wants nothing.
    then       `keep`: the writer owns the place, for `in_ms` from now. `release`: nobody owns it, and it falls due
               `in_ms` from now (None: never). If somebody else owns it and its visibility is not over, both leave owner
               and due time as they are. If it was nudged since its owner took it, `release` makes it due at once.
               `hurry`: due now, or, where it is owned, its owner is nudged; `owner` and `in_ms` play no part.
    forget_ms  when set, the place becomes absent this long after the store's now.
    """

    key: str
    expected: str | None
    version: str
    record: bytes
    label: str = ""
    owner: str = ""
    then: Then = "hurry"
    in_ms: int | None = None
    forget_ms: int | None = None


class Standing(Struct, frozen=True):
    """What stands at a place. `owner` is empty where nobody owns it or whose visibility is over."""

    key: str
    version: str
    record: bytes
    owner: str = ""


class Written(Struct, frozen=True):
    """The swap took place, now or when it was sent the first time."""


class Astray(Struct, frozen=True):
    """The swap did not take place: at `key` another version stands, `standing`, or nothing does."""

    key: str
    standing: Standing | None


class Page(Struct, frozen=True):
    """Part of a listing. `cursor` asks for the next part; empty after the last."""

    places: list[Standing]
    cursor: str


class Delivery(Struct, frozen=True):
    """One accepted result on its way. `id` is the one that it was posted with; `times` counts how often it has been
    delivered, this time included."""

    id: str
    entry: bytes
    times: int


class Letter(Struct, frozen=True):
    """A dead letter: what was accepted and could not be used, why, and since when (Unix milliseconds). `id` is the one
    that it was posted with."""

    id: str
    entry: bytes
    reason: str
    detail: str
    since_ms: int


class RunStore(Protocol):
    """See the module's docstring for what is guaranteed."""

    name: str
    """`memory`, `sqlite` or `redis`: the label in metrics and logs."""
    operations: int
    """Round trips asked for so far, by this process; idle looks at the due-queue and the queue of results included."""

    async def start(self) -> None:
        """Connect and check that the store is fit. Raises `StoreUnavailable`, and `ledger.store.UnfitStore` for one
        that must not be used (it may evict, another process owns the file, too old)."""

    async def close(self) -> None:
        """Let go of every resource. Calls under way are finished or fail with `StoreUnavailable`."""

    # -- places --------------------------------------------------------------------------------------------------

    async def swap(self, *puts: Put) -> Written | Astray:
        """Write all of `puts`, if each place has the version that it expects; else write none, and return the first
        that has not."""

    async def read(self, key: str) -> Standing | None:
        """Return what stands at `key`."""

    async def take(self, owner: str, limit: int, visibility_ms: int) -> list[Standing]:
        """Make `owner` the owner of up to `limit` places that are due, the longest due first, and return them. Each
        falls due again after `visibility_ms` unless renewed. What had been nudged is no longer."""

    async def renew(self, owner: str, keys: Sequence[str], visibility_ms: int) -> set[str]:
        """Extend `owner`'s visibility of those of `keys` that it still owns, and return them; the others are lost to
        it. One whose visibility was over and that nobody has taken since is still owned."""

    async def hurry(self, key: str) -> bool:
        """Make what stands at `key` due now; where it is owned, nudge its owner. Returns whether anything stands
        there."""

    def listen(self, owner: str, nudged: Listener) -> None:
        """From now on call `nudged(key)` on the event loop when a place of `owner`'s is nudged, by any process, and
        `nudged("")` when something became due or was posted that nobody owns, or when messages may have been missed:
        then look. A hint: it may come spuriously or not at all, so callers look now and then."""

    async def scan(self, label: str, cursor: str, limit: int) -> Page:
        """List places with `label` (empty: with any), about `limit` after `cursor` (empty: from the start), the newest
        written first where the store can. One that changes meanwhile may be missed or come twice. Raises `ValueError`
        for a cursor of another listing."""

    async def counts(self) -> dict[str, int]:
        """Count the places of each label that has any."""

    async def hear(self, webhook: str, keep_ms: int, key: str) -> bool:
        """Remember for `keep_ms` that the notification with this id has come and, in the same step, make `key` due as
        `hurry` does, if anything stands there. Returns whether the notification was new; for one that was not, nothing
        happens."""

    # -- the queue of results that were posted back --------------------------------------------------------------------

    async def post(self, entry_id: str, entry: bytes, depth_max: int) -> bool:
        """Append a result to the queue, durably, unless `depth_max` are in it already; say whether it is there. Posted
        twice with the same id while it is in the queue, it is there once."""

    async def deliveries(self, consumer: str, limit: int, idle_ms: int) -> list[Delivery]:
        """Return up to `limit` results for `consumer` to work on: those that were delivered to anybody `idle_ms` ago or
        longer and are not done with (their consumer died), then new ones, the oldest first."""

    async def done(self, ids: Sequence[str]) -> None:
        """Take results out of the queue: what they asked for is in the runs' records."""

    async def depth(self) -> int:
        """Count the results in the queue, those being worked on included."""

    async def bury(self, delivery_id: str, reason: str, detail: str) -> None:
        """Move a result from the queue to the dead letters, in one step. Unknown ids are ignored."""

    async def letters(self, cursor: str, limit: int) -> tuple[list[Letter], str]:
        """List dead letters, the oldest first, and the cursor that asks for the next ones (empty after the last)."""

    async def requeue(self, letter_id: str) -> bool:
        """Put a dead letter back into the queue, in one step, as if it had just been posted; say whether there was
        one."""

    async def drop(self, letter_id: str) -> bool:
        """Delete a dead letter; say whether there was one. Whoever asks for it writes down why."""
