"""Following an operation that is somebody else's: read, told of changes, read again, until it has ended.

All of this process that wait for one operation wait at one joint, so that they cost one subscription and one read each
time. An `Execution` whose key turned out to be another's goes on like this; a `Watch` is the same for callers who never
asked for the key.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ledger.key import Ref
from ledger.records import CorruptRecord, InFlight, Record, Unknown
from ledger.store import StoreUnavailable
from proxy.joint import Joint
from proxy.works import Works

if TYPE_CHECKING:
    from proxy.execution import Execution

POLL_S = 2.0
"""How often a watched record is read although nobody said that it changed: a wake-up can be lost with a
subscription."""

HEED_S = 15.0
"""The same where nobody waits, but only listens."""


class Watch(Joint):
    """The meeting place of who waits for an operation that nobody in this process works on. `record` is what is known
    of it already."""

    __slots__ = ("_works", "ref", "task")

    listening = False

    def __init__(self, works: Works, ref: Ref, record: Record | None = None) -> None:
        super().__init__()
        self.record = record
        self.ref = ref
        self._works = works
        works.joints[ref.operation] = self
        self.task = asyncio.get_running_loop().create_task(self._run())

    def give_up(self, detail: str, why: str = "lost") -> None:
        """Stop watching: the process ends."""
        self.task.cancel()

    async def _run(self) -> None:
        try:
            await watch(self._works, self.ref, self)
        except CorruptRecord as error:
            self.foreign = str(error)
            self._works.corrupt("record.corrupt", self.ref, error)
            self.publish(None, None, ended=True)
        finally:
            if not self.ended:
                self.publish(self.record, self.result, ended=True)
            self._works.left(self, self.ref)


async def watch(works: Works, ref: Ref, joint: Joint) -> None:
    """Publish at `joint` what becomes of `ref`, until that has ended or nobody waits there. Raises `CorruptRecord`."""
    while True:
        with works.wakeups.expect(ref.operation) as woken:
            try:
                if await _look(works, ref, joint):
                    return
            except StoreUnavailable as error:
                # It is in flight elsewhere, whatever became of the store: who waits here may go on waiting.
                works.log.event("watch.postponed", level="warning", operation=ref.operation, detail=str(error))
            await woken.wait(POLL_S)
        await asyncio.sleep(0)  # who was woken takes its place again before it is missed
        if not joint.held:
            joint.publish(joint.record, None, ended=True)
            return


async def _look(works: Works, ref: Ref, joint: Joint) -> bool:
    """Publish what stands there now; say whether that ends the watch."""
    standing = await works.books.watch(ref)
    while standing is not None and leased(standing.record) and (standing.lease_left_ms or 0) <= 0:
        await works.lapse(ref, standing)
        standing = await works.books.watch(ref)
    ended = standing is None or not open_still(standing.record)
    if standing is None:
        joint.publish(None, None, ended=True)
    elif ended or standing.record != joint.record:
        joint.publish(standing.record, standing.result if ended else None, ended=ended)
    return ended


def leased(record: Record) -> bool:
    """Say whether a process holds this record by a lease: it has its forward under way, or listens for the reply."""
    return isinstance(record, InFlight) or (isinstance(record, Unknown) and record.listening)


def open_still(record: Record) -> bool:
    """Say whether this record may end while one waits: by a live process, or by a probe."""
    return leased(record) or (isinstance(record, Unknown) and record.probing is not None)


async def heed(works: Works, execution: Execution) -> None:
    """While this process listens for a late reply: hear it when somebody else finds out, rules, or claims anew.

    Goes on until then; whoever stops listening cancels it.
    """
    ref = execution.arrival.ref
    while True:
        with works.wakeups.expect(ref.operation) as woken:
            try:
                standing = await works.books.watch(ref)
            except (StoreUnavailable, CorruptRecord):
                standing = None  # it is asked again; the settlement will say what is wrong
            if standing is not None and not _ours_still(standing.record, execution.token):
                works.hand_over(execution, standing)
                return
            await woken.wait(POLL_S if execution.held else HEED_S)


def _ours_still(record: Record, token: str) -> bool:
    return isinstance(record, Unknown) or (isinstance(record, InFlight) and record.token == token)
