"""Outputs that are ready and not yet handed in: of one thread in order, of different threads side by side, and never
more than there is room for. Who brings more waits, and with it the worker's next call: that is the back-pressure."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from msgspec import Struct

from evaluation.variants.agents import Seen
from evaluation.variants.tasks import Tasks

LANES = 16
DEPTH_MAX = 64
"""Of each lane."""
LATER_S = 0.5
LATERS_MAX = 60
"""A batch that somebody else hands in is looked at again so often; after that, what the API shows decides."""


class Batch(Struct, frozen=True):
    """The outputs of a step, by call id, in the order of its calls."""

    run: Seen
    outputs: dict[str, str]
    rounds: int = 0


HandIn = Callable[[Batch], Awaitable[bool]]
"""Hands a batch in; says whether that is the end of it."""


class Buffer:
    """Lanes of batches; `hand_in` is called with one batch of a lane at a time."""

    def __init__(
        self, hand_in: HandIn, gave_up: Callable[[Batch], None], tasks: Tasks, *, later_s: float = LATER_S
    ) -> None:
        self._hand_in = hand_in
        self._gave_up = gave_up
        self._later_s = later_s
        self._lanes: list[asyncio.Queue[Batch]] = [asyncio.Queue(DEPTH_MAX) for _ in range(LANES)]
        self._tasks = tasks

    async def put(self, batch: Batch) -> None:
        """Add a batch to its thread's lane, once there is room."""
        await self._lanes[zlib.crc32(batch.run.thread_id.encode()) % LANES].put(batch)

    async def run(self) -> None:
        """Hand in for ever."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(self._drain(lane))

    async def _drain(self, lane: asyncio.Queue[Batch]) -> None:
        while True:
            batch = await lane.get()
            if await self._hand_in(batch):
                continue
            if batch.rounds >= LATERS_MAX:
                self._gave_up(batch)
            else:
                self._tasks.go(self._later(batch))

    async def _later(self, batch: Batch) -> None:
        """Put a batch behind the others of its lane, in a while: nobody else waits for it."""
        await asyncio.sleep(self._later_s)
        await self.put(Batch(batch.run, batch.outputs, batch.rounds + 1))
