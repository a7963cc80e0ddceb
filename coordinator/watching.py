"""The runs that this process owns: taken when they fall due, kept, renewed while they are, and let go at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from coordinator.decisions import waits_since
from coordinator.keeping import Keeping
from coordinator.means import Means
from coordinator.records import CorruptRecord
from coordinator.store import Standing
from ledger.store import StoreUnavailable

TAKE_MAX = 64
RETRY_S = 1.0
"""Between tries to renew while the store is away: what has lapsed is stopped until one succeeds."""
LOOK_S = 1.0
"""Between looks at the due-queue while nobody tells: a hint may be lost."""

T = TypeVar("T")
Other = Callable[[Standing], Coroutine[Any, Any, None]]


class Watching:
    """One per process."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._keepings: dict[str, Keeping] = {}
        self._again: dict[str, tuple[Standing, float]] = {}
        """Places that were taken while their keeping was not done letting go of them."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._kick = asyncio.Event()
        self._stopping = False

    def __len__(self) -> int:
        """How many runs are kept."""
        return len(self._keepings)

    def longest_wait_s(self) -> float:
        """For how long the step that has waited longest for its outputs, of the runs kept here, has waited."""
        now_ms = self._means.now_ms()
        since = [waits_since(keeping.run) for keeping in self._keepings.values()]
        return max((max(0, now_ms - one) / 1_000 for one in since if one is not None), default=0.0)

    def nudged(self, key: str) -> None:
        """The store says that a place of ours was nudged, or (empty) that something may be due."""
        if key and self.nudge(key, "nudge", stale=True):
            return
        self._kick.set()

    def nudge(self, key: str, why: str, *, stale: bool) -> bool:
        """Have a run that is kept here looked at now; say whether it is."""
        keeping = self._keepings.get(key)
        if keeping is not None:
            keeping.nudge(why, stale=stale)
        return keeping is not None

    def adopt(self, place: Standing, own_until: float) -> None:
        """Keep a run that this process owns; when it is stopping, only to let go of it."""
        kept = self._keepings.get(place.key)
        if kept is not None:
            if not kept.lapsed:  # it has been let go of in the store, and is about to hear of that
                self._again[place.key] = place, own_until
            return  # one that lapsed is ours again, as the next renewal will tell it
        try:
            keeping = Keeping(self._means, place, own_until)
        except CorruptRecord as error:  # left alone: it falls due again, and is told again
            self._means.log.event("run.unreadable", level="error", key=place.key, detail=str(error))
            return
        self._keepings[place.key] = keeping
        if self._stopping:
            keeping.stop()
        self._spawn(self._keep(keeping))

    async def take(self, other: Other) -> None:
        """Take what falls due, for ever. `other` is given what is no run: a turn that was left half started."""
        means = self._means
        while not self._stopping:
            room = min(TAKE_MAX, means.limits.runs_max - len(self._keepings))
            taken = 0
            if room > 0:  # a taking goes on when this is cancelled: what it takes is let go of in order
                taken = await asyncio.shield(self._spawn(self._taken(room, other)))
            if taken < TAKE_MAX:
                await self._idle()

    async def _taken(self, room: int, other: Other) -> int:
        """Take up to `room` places, and say how many were due."""
        means, began = self._means, asyncio.get_running_loop().time()
        try:
            places = await means.store.take(means.owner, room, means.limits.visibility_ms)
        except StoreUnavailable as error:
            means.store_is_away(error)
            return 0
        for place in places:
            if place.key.startswith("run:"):
                self.adopt(place, began + means.limits.visibility_ms / 1_000)
            else:
                self._spawn(other(place))
        return len(places)

    async def renew(self) -> None:
        """Renew what is kept, for ever: a run whose renewal fails is not acted for until it succeeds."""
        means = self._means
        each_s = pause_s = means.limits.visibility_ms / 3_000
        while True:
            await asyncio.sleep(pause_s)
            pause_s = each_s
            keepings = dict(self._keepings)
            if not keepings:
                continue
            began = asyncio.get_running_loop().time()
            try:
                ours = await means.store.renew(means.owner, list(keepings), means.limits.visibility_ms)
            except StoreUnavailable as error:
                means.store_is_away(error)
                pause_s = min(each_s, RETRY_S)
                continue
            for key, keeping in keepings.items():
                if key in ours:
                    keeping.own_until = max(keeping.own_until, began + means.limits.visibility_ms / 1_000)
                else:
                    keeping.lose()

    async def stop(self, seconds_max: float) -> None:
        """Let go of every run, so that another replica takes it at once."""
        self._stopping = True
        self._kick.set()
        for keeping in self._keepings.values():
            keeping.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                while self._tasks:  # one that takes a run as this begins leaves another behind
                    await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.cancel()

    async def _keep(self, keeping: Keeping) -> None:
        try:
            await keeping.keep()
        except Exception as error:  # noqa: BLE001  whatever it was, the run falls due again and the others go on
            self._means.log.event("run.failed", level="error", key=keeping.key, error=repr(error))
        finally:
            del self._keepings[keeping.key]
            again = self._again.pop(keeping.key, None)
            if again is not None and asyncio.get_running_loop().time() < again[1]:
                self.adopt(*again)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._kick.wait()
        except TimeoutError:
            return
        finally:
            self._kick.clear()
