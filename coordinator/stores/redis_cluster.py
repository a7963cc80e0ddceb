"""Where in a cluster the runs are: at whichever primary has the one slot of their keys (decision 0029)."""

from __future__ import annotations

from redis.crc import key_slot

from coordinator.stores.redis_scripts import BASE
from ledger.store import StoreUnavailable
from ledger.stores.redis_address import Login, OnMessage, OnMoved
from ledger.stores.redis_nodes import Nodes
from ledger.stores.redis_url import StoreUrl, Topology
from ledger.stores.redis_wire import Line

SLOT: int = key_slot(BASE)


class SlotAddress:
    """The address of the primary that has the slot; see `ledger.stores.redis_address.Address`."""

    topology: Topology = "cluster"

    def __init__(self, url: StoreUrl, deadline_s: float) -> None:
        self.where = f"slot {SLOT} of the cluster of {', '.join(map(str, url.places))}"
        self._login = Login(url.credentials, url.tls, deadline_s)
        self._nodes = Nodes(url.places, self._login, self._changed)
        self._opened = False
        self._on_moved: OnMoved | None = None

    async def open(self, on_message: OnMessage | None = None) -> Line:
        """See `Address.open`. A connection that has to be opened anew is reason to doubt the map."""
        if self._opened:
            self._nodes.doubt()
        else:
            await self._nodes.learn()
        place = self._nodes.slots.primary_of(SLOT)
        if place is None:
            raise StoreUnavailable(f"no node of the redis cluster has slot {SLOT}")
        line = await self._login.to(place, on_message)
        self._opened = True
        return line

    def look_out(self, on_moved: OnMoved) -> None:
        """See `Address.look_out`."""
        self._on_moved = on_moved
        self._nodes.keep()

    async def look_again(self) -> None:
        """Return when the map has been looked at, after now."""
        await self._nodes.look_again()

    async def close(self) -> None:
        """See `Address.close`."""
        self._on_moved = None
        await self._nodes.close()

    def _changed(self) -> None:
        place = self._nodes.slots.primary_of(SLOT)
        if self._on_moved is not None and place is not None:
            self._on_moved(str(place))
