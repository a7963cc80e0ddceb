"""The one subscription of a coordinator: which of its places were nudged, by anybody.

It has a line of its own, opened when there is somebody to tell. While it is down, messages are lost without a trace: so
whenever it comes up, everybody is told to look.
"""

from __future__ import annotations

import asyncio

from coordinator.store import Listener
from coordinator.stores.holds import EVERYBODY, Told
from coordinator.stores.listeners import Listeners
from coordinator.stores.redis_scripts import CHANNEL
from ledger.stores.redis_address import Address
from ledger.stores.redis_link import Link
from ledger.stores.redis_wakeups import subscribed
from ledger.stores.redis_wire import Line


class Nudges:
    """Tells listeners, from `start` on. `address` opens the line."""

    def __init__(self, address: Address, deadline_s: float) -> None:
        self._address = address
        self._listeners = Listeners()
        self._link = Link(self._subscribe, deadline_s)
        self._wanted = False
        self._started = False
        self._kept = False

    def add(self, owner: str, listener: Listener) -> None:
        """Tell `listener` of what concerns `owner`, in place of an earlier one."""
        self._listeners.add(owner, listener)
        self._wanted = True
        self._keep()

    def start(self) -> None:
        """Subscribe, as soon as there is somebody to tell."""
        self._started = True
        self._keep()

    def follow(self, *places: str) -> None:
        """Subscribe anew unless the subscription is at one of these places."""
        self._link.follow(*places)

    async def close(self) -> None:
        """End the subscription."""
        self._started = self._kept = False
        await self._link.close()

    def _keep(self) -> None:
        if self._started and self._wanted and not self._kept:
            self._kept = True
            self._link.keep()

    async def _subscribe(self) -> Line:
        line = await subscribed(self._address, CHANNEL, self._heard)
        self._tell(EVERYBODY)
        return line

    def _heard(self, message: bytes) -> None:
        owner, _, key = message.decode("utf-8", "replace").partition("\x00")
        self._tell(Told(owner, key))

    def _tell(self, told: Told) -> None:
        self._listeners.tell(asyncio.get_running_loop(), (told,))
