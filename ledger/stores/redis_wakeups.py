"""The one subscription of a process: which watched operations were swapped, by anybody.

It has a line of its own, opened when the first operation is watched. While it is down, messages are lost without a
trace: so whenever it comes back, the listener is told of everything that is watched, and looks for itself.
"""

from __future__ import annotations

import asyncio

from ledger.store import Listener
from ledger.stores.redis_address import Address, OnMessage
from ledger.stores.redis_errors import raise_if_refused
from ledger.stores.redis_link import Link
from ledger.stores.redis_scripts import CHANNEL
from ledger.stores.redis_wire import Line, pack
from ledger.stores.watches import Watches


class Wakeups:
    """Tells the listener of watched operations. `address` opens the line, `deadline_s` bounds each wait."""

    def __init__(self, address: Address, deadline_s: float) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._watches = Watches()
        self._link = Link(self._subscribe, deadline_s)
        self._tried: asyncio.Event | None = None

    def listen(self, listener: Listener) -> None:
        """Tell `listener` from now on, in place of an earlier one."""
        self._watches.listen(listener)

    def add(self, operation: str) -> bool:
        """Listen for `operation`. Where this is False, wait for `come_up` before relying on it."""
        self._watches.add(operation)
        if self._tried is None:
            self._tried = asyncio.Event()
            self._link.keep()
        return self._tried.is_set()

    async def come_up(self) -> None:
        """Return once the subscription stands; or without it, where it does not come soon: then the listener is told of
        everything when it does. Half the deadline is left for the read that follows."""
        assert self._tried is not None
        try:
            async with asyncio.timeout(self._deadline_s / 2):
                await self._tried.wait()
        except TimeoutError:
            self._tried.set()

    def follow(self, *places: str) -> None:
        """Subscribe anew unless the subscription is at one of these places."""
        self._link.follow(*places)

    async def close(self) -> None:
        """End the subscription."""
        await self._link.close()
        self._tried = None

    async def _subscribe(self) -> Line:
        """Return a line that is subscribed. Raises StoreUnavailable."""
        assert self._tried is not None
        again = self._tried.is_set()
        try:
            line = await subscribed(self._address, CHANNEL, self._told)
            again = again or self._tried.is_set()
        finally:
            self._tried.set()
        if again:
            self._watches.tell_all(asyncio.get_running_loop())
        return line

    def _told(self, message: bytes) -> None:
        self._watches.tell(asyncio.get_running_loop(), (message.decode("utf-8", "surrogateescape"),))


async def subscribed(address: Address, channel: bytes, told: OnMessage) -> Line:
    """Return a line of its own on which `told` is called with each message of `channel`. Raises StoreUnavailable."""
    line = await address.open(told)
    try:
        raise_if_refused(await line.send(pack((b"SUBSCRIBE", channel))), line.where)
    except BaseException:  # cancelled, too: nobody else knows this line yet
        await line.close()
        raise
    return line
