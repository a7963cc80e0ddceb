"""The primary that Sentinels watch: asked for at each connection, and moved to as soon as they say that it has changed.

All are asked at once. They may disagree for a while after a failover, and one that was cut off stays with what it knew:
the answer of the latest configuration (`config-epoch`) counts. That the server it names is a primary by its own word is
looked at on each connection (`redis_fitness`); until it is, it is asked for again.
"""

from __future__ import annotations

from msgspec import Struct

from ledger.store import StoreUnavailable
from ledger.stores.redis_address import Login, OnMessage, OnMoved
from ledger.stores.redis_asking import answers_of
from ledger.stores.redis_errors import ErrorReply, raise_if_refused
from ledger.stores.redis_link import Link
from ledger.stores.redis_url import Place, StoreUrl, Topology
from ledger.stores.redis_wire import Line, Reply, pack

SWITCHED = b"+switch-master"
"""The channel on which a Sentinel says, once it believes so itself: name, old host and port, new host and port."""


class Known(Struct, frozen=True):
    """What one Sentinel knows of the primary."""

    epoch: int
    place: Place


class Sentinels:
    """The address that they give; see `redis_address.Address`. `login` is for the servers, not for them."""

    topology: Topology = "sentinel"

    def __init__(self, url: StoreUrl, login: Login, deadline_s: float) -> None:
        self.where = f"{url.master} of {', '.join(map(str, url.places))}"
        self._master = url.master
        self._places = url.places
        self._login = login
        self._to_sentinels = Login(url.sentinel_credentials, url.tls, deadline_s)
        self._lookout = Link(self._subscribe, deadline_s)
        self._next = 0
        self._on_moved: OnMoved | None = None

    async def open(self, on_message: OnMessage | None = None) -> Line:
        """See `Address.open`."""
        return await self._login.to(await self.primary(), on_message)

    async def primary(self) -> Place:
        """Return where the primary is. Raises StoreUnavailable if no Sentinel says."""
        try:
            known = await answers_of(self._known_to(sentinel) for sentinel in self._places)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"no Sentinel says where {self._master} is: {error}") from None
        return max(known, key=lambda one: one.epoch).place

    async def _known_to(self, sentinel: Place) -> Known:
        line = await self._to_sentinels.to(sentinel)
        try:
            reply = await line.send(pack((b"SENTINEL", b"MASTER", self._master)))
        finally:
            await line.close()
        return _understood(reply, f"Sentinel at {sentinel}", self._master)

    def look_out(self, on_moved: OnMoved) -> None:
        """See `Address.look_out`."""
        if self._on_moved is None:
            self._on_moved = on_moved
            self._lookout.keep()

    async def close(self) -> None:
        """See `Address.close`."""
        self._on_moved = None
        await self._lookout.close()

    async def _subscribe(self) -> Line:
        """Return a line on which the next Sentinel in turn tells of failovers; what was missed meanwhile is asked."""
        place = self._places[self._next % len(self._places)]
        self._next += 1
        line = await self._to_sentinels.to(place, self._told)
        try:
            raise_if_refused(await line.send(pack((b"SUBSCRIBE", SWITCHED))), line.where)
            self._moved_to(await self.primary())
        except BaseException:  # cancelled, too: nobody else knows this line yet
            await line.close()
            raise
        return line

    def _told(self, message: bytes) -> None:
        name, _, rest = message.decode("utf-8", "replace").partition(" ")
        fields = rest.split(" ")
        if name == self._master and len(fields) == 4 and fields[3].isdecimal():
            self._moved_to(Place(fields[2], int(fields[3])))

    def _moved_to(self, place: Place) -> None:
        if self._on_moved is not None:
            self._on_moved(str(place))


def _understood(reply: Reply, who: str, master: str) -> Known:
    """Return what a Sentinel's reply about `master` says. Raises StoreUnavailable."""
    match reply:
        case ErrorReply() if "No such master" in str(reply):
            raise StoreUnavailable(f"the {who} knows no primary named {master}: see its `sentinel monitor`")
        case ErrorReply() if reply.code == "NOAUTH":
            raise StoreUnavailable(f"the {who} asks for a password: give sentinel_password_file in the store's URL")
        case ErrorReply() if "unknown command" in str(reply):
            raise StoreUnavailable(f"the {who} is none: give the Sentinels' addresses, their port is 26379")
        case list() if len(reply) % 2 == 0:
            fields = {bytes(name): bytes(value) for name, value in zip(reply[::2], reply[1::2], strict=True)}
            host, port = fields.get(b"ip", b"").decode("utf-8", "replace"), fields.get(b"port", b"")
            epoch = fields.get(b"config-epoch", b"0")
            if host and port.isdigit() and epoch.isdigit():
                return Known(int(epoch), Place(host, int(port)))
        case _:
            pass
    raise StoreUnavailable(f"the {who} does not say where {master} is ({reply})")
