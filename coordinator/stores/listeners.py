"""Who is told of nudges in this process, by owner."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from coordinator.store import Listener
from coordinator.stores.holds import Told


class Listeners:
    """Used on the event loop only. Each call is one of its own there, so that a listener that raises harms nobody."""

    def __init__(self) -> None:
        self._by_owner: dict[str, Listener] = {}

    def add(self, owner: str, listener: Listener) -> None:
        """Tell `listener` of what concerns `owner`, in place of an earlier one."""
        self._by_owner[owner] = listener

    def tell(self, loop: asyncio.AbstractEventLoop, news: Iterable[Told]) -> None:
        """Have those called who are concerned: each once, however often the same is told."""
        for told in dict.fromkeys(news):
            if told.owner:
                listener = self._by_owner.get(told.owner)
                if listener is not None:
                    loop.call_soon(listener, told.key)
                continue
            for listener in self._by_owner.values():
                loop.call_soon(listener, "")
