"""The nodes of a cluster: who has which slots, learnt at the start and again whenever that is in doubt.

Some nodes are asked at once. One that was cut off stays with what it knew, so of the answers the one of the latest
configuration counts (`cluster_current_epoch`), and before that, whether the node finds the cluster in order at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from ledger.store import StoreUnavailable
from ledger.stores.redis_address import Login, OneServer, OnMessage, OnMoved
from ledger.stores.redis_asking import answers_of
from ledger.stores.redis_errors import raise_if_refused
from ledger.stores.redis_slots import SlotMap, understood
from ledger.stores.redis_url import Place, Topology
from ledger.stores.redis_wire import Line, pack

ASKED_MAX = 5
"""Nodes that are asked at once."""
CALM_S = 10.0
"""How often the map is looked at while nobody doubts it: slots that moved are told by who is asked for them."""
PAUSE_MIN_S = 0.02
PAUSE_MAX_S = 0.5
"""Between two looks in times of doubt; doubled each time, until the map changes or it has been calm."""


class Nodes:
    """Knows the map. `seeds` are the nodes of the URL; `on_change` is called when `slots` is another one."""

    def __init__(self, seeds: tuple[Place, ...], login: Login, on_change: Callable[[], None]) -> None:
        self.slots = SlotMap()
        self._seeds = seeds
        self._login = login
        self._on_change = on_change
        self._doubted = asyncio.Event()
        self._looked: asyncio.Future[None] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def known(self) -> tuple[Place, ...]:
        """Every node that we have heard of, each once."""
        return tuple(dict.fromkeys((*self.slots.primaries, *self.slots.others, *self._seeds)))

    async def learn(self) -> bool:
        """Look who has which slots; say whether that has changed. Raises StoreUnavailable if nobody answers."""
        known = self.known
        asked = random.sample(known, min(ASKED_MAX, len(known)))
        try:
            answers = await answers_of(self._told_by(place) for place in asked)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"no node of the cluster says who has which slots: {error}") from None
        *_, slots = max(answers, key=lambda answer: answer[:3])
        if not slots.ranges:
            raise StoreUnavailable(f"the redis cluster of {known[0]} has given its slots to nobody yet")
        if slots == self.slots:
            return False
        self.slots = slots
        self._on_change()
        return True

    async def _told_by(self, place: Place) -> tuple[bool, int, int, SlotMap]:
        """Return whether a node finds the cluster in order, its epoch, how many slots it knows of, and the map."""
        line = await self._login.to(place)
        try:
            asked = line.send(pack((b"CLUSTER", b"SLOTS")))
            info = await line.send(pack((b"CLUSTER", b"INFO")))
            slots = await asked
        finally:
            await line.close()
        raise_if_refused(slots, line.where)
        raise_if_refused(info, line.where)
        facts = dict(told.partition(":")[::2] for told in info.decode("utf-8", "replace").split())
        epoch = facts.get("cluster_current_epoch", "0")
        found = understood(slots, place)
        return facts.get("cluster_state") == "ok", int(epoch) if epoch.isdigit() else 0, found.covered, found

    def keep(self) -> None:
        """Keep the map up to date from now on."""
        loop = asyncio.get_running_loop()
        if self._keeper is None:
            self._looked = loop.create_future()
            self._keeper = loop.create_task(self._keep(), name="redis cluster map")

    def doubt(self) -> None:
        """Have the map looked at soon."""
        self._doubted.set()

    async def look_again(self) -> None:
        """Return when the map has been looked at, after now."""
        self.doubt()
        if self._looked is None:
            raise StoreUnavailable("redis: the store is closed")
        await asyncio.wait([self._looked])

    async def close(self) -> None:
        """Look no more."""
        keeper, self._keeper = self._keeper, None
        if self._looked is not None:
            self._looked.cancel()
            self._looked = None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = PAUSE_MIN_S
        while True:
            began = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CALM_S):
                    await self._doubted.wait()
            self._doubted.clear()
            waiting, self._looked = self._looked, loop.create_future()
            changed = False
            with contextlib.suppress(StoreUnavailable):  # asked again soon, by whoever is in doubt
                changed = await self.learn()
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
            calm = changed or loop.time() - began > PAUSE_MAX_S * 2
            pause = PAUSE_MIN_S if calm else min(PAUSE_MAX_S, pause * 2)
            await asyncio.sleep(pause)


class Node(OneServer):
    """The address of one node. A connection that has to be opened anew is reason to doubt the map."""

    def __init__(self, login: Login, place: Place, nodes: Nodes) -> None:
        super().__init__(login, place, "cluster")
        self._nodes = nodes
        self._opened = False

    async def open(self, on_message: OnMessage | None = None) -> Line:
        """See `Address.open`."""
        if self._opened:
            self._nodes.doubt()
        line = await super().open(on_message)
        self._opened = True
        return line


class AnyNode:
    """The address of whichever node is there: what one publishes, all of a cluster hand out."""

    topology: Topology = "cluster"

    def __init__(self, login: Login, nodes: Nodes) -> None:
        self.where = "any node"
        self._login = login
        self._nodes = nodes

    async def open(self, on_message: OnMessage | None = None) -> Line:
        """See `Address.open`. One is tried: who asks again comes to another."""
        return await self._login.to(random.choice(self._nodes.known), on_message)  # noqa: S311 -- no secret

    def look_out(self, on_moved: OnMoved) -> None:
        """See `Address.look_out`. It does not matter where it is."""

    async def close(self) -> None:
        """See `Address.close`."""
