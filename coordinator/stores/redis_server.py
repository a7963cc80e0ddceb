"""The one way in which the Redis store asks its server: a script, on the line that there is, by the one deadline.

In a cluster the slot of all keys may come to be elsewhere: then the map is looked at, and the same is asked there. All
scripts have the effect of one when they are sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from coordinator.stores.redis_cluster import SlotAddress
from coordinator.stores.redis_scripts import ALL, BASE, CHANNEL, LAYOUT
from ledger.store import StoreUnavailable
from ledger.stores.redis_address import CONNECT_S, Address
from ledger.stores.redis_errors import Misdirected
from ledger.stores.redis_fitness import Fitness, examine
from ledger.stores.redis_link import Link
from ledger.stores.redis_runner import Runner
from ledger.stores.redis_scripts import Script
from ledger.stores.redis_wire import Line, Reply


class Server:
    """The server at `address`, and the link to it."""

    def __init__(self, address: Address, deadline_s: float) -> None:
        self.fitness = Fitness("", ())
        """As of the last connection."""
        self._address = address
        self._deadline_s = deadline_s
        self._link = Link(self._open, deadline_s)
        self._runner = Runner(self._link, address.where, deadline_s)

    async def start(self) -> None:
        """Connect. Raises StoreUnavailable or UnfitStore; may be called again after it failed."""
        await self._link.start()

    async def close(self) -> None:
        """Finish what is under way, within the deadline, and let go."""
        await self._link.close()

    def follow(self, *places: str) -> None:
        """Connect anew unless the connection leads to one of these places."""
        self._link.follow(*places)

    async def _open(self) -> Line:
        line = await self._address.open()
        try:
            async with asyncio.timeout(CONNECT_S):
                self.fitness = await examine(line, self._address.topology, ALL, CHANNEL, LAYOUT)
        except BaseException as error:
            await line.close()
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(f"redis at {line.where} does not say in time what it is") from error
            raise
        return line

    async def run(self, script: Script, *arguments: bytes | str | int) -> Reply:
        """Run a script and return its reply. Raises StoreUnavailable."""
        return await self._asked(lambda: self._runner.run(script, 1, BASE, *arguments))

    async def length(self, stream: bytes) -> int:
        """Return how long a stream is. Raises StoreUnavailable."""
        length: int = await self._asked(lambda: self._runner.ask(int, b"XLEN", stream))
        return length

    async def _asked(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        self._link.check_kept()
        try:
            return await ask()
        except Misdirected as error:
            if not isinstance(self._address, SlotAddress):
                raise
            return await self._asked_elsewhere(self._address, ask, error)

    async def _asked_elsewhere(
        self, address: SlotAddress, ask: Callable[[], Awaitable[Reply]], error: Misdirected
    ) -> Reply:
        try:
            async with asyncio.timeout(self._deadline_s):
                while True:
                    await address.look_again()
                    try:
                        return await ask()
                    except Misdirected as again:
                        error = again
        except TimeoutError:
            raise error from None

    def astray(self) -> StoreUnavailable:
        """Give the connection up, and return what the caller is told who was handed a reply that cannot be his."""
        return self._runner.astray()
