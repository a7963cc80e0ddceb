"""Who is told of a swap, in stores that only one process uses: no subscription, just a call on the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

from ledger.store import Listener

WATCHED_MAX = 16_384
"""Operations remembered as watched, some 2 MiB; beyond it the oldest is dropped: its waiters' own polling finds out."""


class Watches:
    """The watched operations and the one listener. Used on the event loop only.

    An operation stays watched after it was told of: between a watcher's asking and its reading, an earlier swap may
    still be on its way to the listener, and must not use up the watch.
    """

    def __init__(self, watched_max: int = WATCHED_MAX) -> None:
        self._watched: OrderedDict[str, None] = OrderedDict()
        self._watched_max = watched_max
        self._listener: Listener | None = None

    def listen(self, listener: Listener) -> None:
        """Tell `listener` from now on, in place of an earlier one."""
        self._listener = listener

    def add(self, operation: str) -> None:
        """Watch `operation`; the one that was asked for longest ago makes room."""
        self._watched.pop(operation, None)
        self._watched[operation] = None
        if len(self._watched) > self._watched_max:
            self._watched.popitem(last=False)

    def tell(self, loop: asyncio.AbstractEventLoop, operations: Iterable[str]) -> None:
        """Have the listener called for those of `operations` that are watched.

        Each call is one of its own on `loop`, so that a listener that raises harms neither the others nor the store.
        """
        listener = self._listener
        if listener is None or not self._watched:
            return
        for operation in operations:
            if operation in self._watched:
                loop.call_soon(listener, operation)

    def tell_all(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the listener called for every watched operation: something may have been missed."""
        self.tell(loop, tuple(self._watched))
