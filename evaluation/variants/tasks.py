"""Work that goes on by itself: kept until it ends, told of when it breaks, and ended together."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Tasks of one owner. One that breaks is told of on stderr, and stops no other."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def go(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin, and return the task."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self) -> None:
        """Cancel what is running, and wait for it."""
        running = [*self._running]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error, file=sys.stderr)
