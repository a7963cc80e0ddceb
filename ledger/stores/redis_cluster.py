"""The Redis store on a cluster: each primary is a server like any other, and a scope's slot says which is asked.

What one of them is asked has the form that it has with a single server (`redis`), since a scope's keys share a slot.
When a node says that it is not the one, or is no more, or its connection cannot be kept, the map is looked at
(`redis_nodes`) and the same is asked again, with the same version, by the one deadline. redis-py's own cluster client
has loops of retries that know of no version and no deadline; nothing of it is used.

A primary that is away takes its scopes with it, and no others. See decision 0014.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.crc import key_slot

from ledger.key import Ref
from ledger.store import (
    Beat,
    Held,
    Listener,
    Page,
    Phase,
    Present,
    StoreUnavailable,
    UnknownCount,
    Write,
    Written,
)
from ledger.stores.redis import WATCH_ABSENT_MS, RedisStore
from ledger.stores.redis_address import Login
from ledger.stores.redis_beats import Beats
from ledger.stores.redis_cluster_beats import ClusterBeats
from ledger.stores.redis_cluster_scopes import ClusterScopes
from ledger.stores.redis_errors import Misdirected
from ledger.stores.redis_listing import Listing
from ledger.stores.redis_nodes import AnyNode, Node, Nodes
from ledger.stores.redis_scopes import Scopes
from ledger.stores.redis_scripts import Script
from ledger.stores.redis_slots import slot_of
from ledger.stores.redis_sweep import Sweep
from ledger.stores.redis_url import Place, StoreUrl, parse
from ledger.stores.redis_wakeups import Wakeups
from ledger.stores.redis_wire import Reply

NODES_MAX = 1_024
"""Primaries that a cursor over all keys can tell apart; Redis Cluster is made for 1,000 nodes."""

T = TypeVar("T")


class Shard(RedisStore):
    """One primary. Registry and heartbeats are the cluster's, and so is the subscription."""

    def __init__(self, node: Node, scopes: Scopes, beats: Beats, deadline_ms: int) -> None:
        super().__init__(node, deadline_ms=deadline_ms)
        self._scopes = scopes
        self._beats = beats

    def keep(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._link.keep()

    def given_up(self) -> StoreUnavailable:
        """Return what a caller is told whose deadline is over."""
        return self._link.given_up()

    def beat_with(self, beats: Beats) -> None:
        """Compare these counts on each new connection."""
        self._beats = beats

    async def run(self, script: Script, *arguments: bytes | str | int) -> Reply:
        """Run a script here."""
        return await self._runner.run(script, *arguments)

    async def ask(self, expected: type, *command: bytes | str | int) -> Reply:
        """Send a plain command here."""
        return await self._runner.ask(expected, *command)

    async def read_watched(self, ref: Ref) -> Present | None:
        """Have the next swap at `ref` published, and return what stands there."""
        return await self._read(ref, WATCH_ABSENT_MS)


class RedisClusterStore:
    """The port of `ledger.store` on the cluster that `url` means. Raises ValueError for a URL that makes no sense."""

    name = "redis"

    def __init__(self, url: str | StoreUrl, *, deadline_ms: int = 1000) -> None:
        parsed = parse(url) if isinstance(url, str) else url
        self._deadline_ms = deadline_ms
        self._deadline_s = deadline_ms / 1000
        self._login = Login(parsed.credentials, parsed.tls, self._deadline_s)
        self._nodes = Nodes(parsed.places, self._login, self._changed)
        self._wakeups = Wakeups(AnyNode(self._login, self._nodes), self._deadline_s)
        self._scopes = ClusterScopes(self._ask, lambda: self._nodes.slots)
        self._sweep = Sweep(self._scopes, self._run)
        self._listing = Listing(self._scopes, self._run, self._ask)
        self._beats = ClusterBeats(self._run, self._ask)
        self._shards: dict[Place, Shard] = {}
        self._parting: set[asyncio.Task[None]] = set()
        self._started = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the primaries can lose, one sentence each, as of their last connections."""
        return tuple(warning for shard in self._shards.values() for warning in shard.warnings)

    @property
    def version(self) -> str:
        """The oldest version among the primaries that were met."""
        return min((shard.version for shard in self._shards.values() if shard.version), default="")

    async def start(self) -> None:
        """See `ledger.store.Store.start`. A primary that is away is waited for in the background, if others are
        there."""
        if self._started:
            return
        await self._nodes.learn()
        self._changed()
        shards = list(self._shards.values())
        outcomes = await asyncio.gather(*(shard.start() for shard in shards), return_exceptions=True)
        failures = [outcome for outcome in outcomes if outcome is not None]
        unfit = [failure for failure in failures if not isinstance(failure, StoreUnavailable)]
        if unfit or len(failures) == len(shards):
            self._shards.clear()
            await asyncio.gather(*(shard.close() for shard in shards))
            raise (unfit or failures)[0]
        for shard, outcome in zip(shards, outcomes, strict=True):
            if outcome is not None:
                shard.keep()
        self._started = True
        self._nodes.keep()

    async def close(self) -> None:
        """See `ledger.store.Store.close`."""
        self._started = False
        await self._nodes.close()
        await self._wakeups.close()
        shards, self._shards = list(self._shards.values()), {}
        await asyncio.gather(*(shard.close() for shard in shards), *self._parting)

    def _changed(self) -> None:
        """Have a shard for each primary of the map, and none besides."""
        slots = self._nodes.slots
        for place in slots.primaries:
            beats = self._beats.at(place, slots.tag_at(place))
            if place in self._shards:
                self._shards[place].beat_with(beats)
            else:
                node = Node(self._login, place, self._nodes)
                shard = self._shards[place] = Shard(node, self._scopes, beats, self._deadline_ms)
                if self._started:
                    shard.keep()
        for place in self._shards.keys() - set(slots.primaries):
            # Its callers are told, and ask the next one. What it was sent and answers yet, they are given.
            parting = asyncio.get_running_loop().create_task(self._shards.pop(place).close())
            self._parting.add(parting)
            parting.add_done_callback(self._parting.discard)
        self._beats.only(slots.primaries)
        self._wakeups.follow(*map(str, self._nodes.known))

    def _shard_of(self, slot: int) -> Shard:
        return self._shard_at(self._nodes.slots.primary_of(slot), slot)

    def _shard_at(self, place: Place | None, slot: int) -> Shard:
        shard = None if place is None else self._shards.get(place)
        if shard is None:
            if not self._started:
                raise StoreUnavailable("redis: the store is not started, or closed")
            raise Misdirected(f"no node of the redis cluster has slot {slot}")
        return shard

    async def _at(self, slot: int, call: Callable[[Shard], Awaitable[T]]) -> T:
        """Call the shard that has `slot`; where it turns out to be another one, that one, all by the deadline."""
        shard: Shard | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                while True:
                    try:
                        shard = self._shard_of(slot)
                        return await call(shard)
                    except Misdirected:
                        await self._nodes.look_again()
                    except StoreUnavailable:
                        place = self._nodes.slots.primary_of(slot)
                        if shard is None or place is None or self._shards.get(place) is shard:
                            raise
        except TimeoutError:
            if shard is not None:
                raise shard.given_up() from None
            after = f"given up after {self._deadline_ms} ms"
            raise StoreUnavailable(f"no node of the redis cluster has slot {slot} ({after})") from None

    async def _run(self, script: Script, keys: int, key: bytes, *arguments: bytes | str | int) -> Reply:
        return await self._at(key_slot(key), lambda shard: shard.run(script, keys, key, *arguments))

    async def _ask(self, expected: type, name: bytes, key: bytes, *arguments: bytes | str | int) -> Reply:
        if name == b"SCAN":
            return await self._scan_in_turn(int(key), *arguments)
        return await self._at(key_slot(key), lambda shard: shard.ask(expected, name, key, *arguments))

    async def _scan_in_turn(self, cursor: int, *arguments: bytes | str | int) -> Reply:
        """Look through the keys of one primary after the other; the cursor says at which, and how far there."""
        number, at = cursor % NODES_MAX, cursor // NODES_MAX
        primaries = self._nodes.slots.primaries
        if number >= len(primaries):
            return [0, []]
        told, names = await self._shard_at(primaries[number], 0).ask(list, b"SCAN", at, *arguments)
        if int(told):
            return [int(told) * NODES_MAX + number, names]
        return [number + 1 if number + 1 < len(primaries) else 0, names]

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | Held | None:
        """See `ledger.store.Store.swap`."""
        return await self._at(slot_of(ref.scope), lambda shard: shard.swap(ref, expected, write))

    async def read(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.read`."""
        return await self._at(slot_of(ref.scope), lambda shard: shard.read(ref))

    async def watch(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.watch`."""
        shard = self._shard_of(slot_of(ref.scope))
        shard.check_kept()
        if not self._wakeups.add(ref.operation):
            await self._wakeups.come_up()
        return await self._at(slot_of(ref.scope), lambda shard: shard.read_watched(ref))

    def listen(self, listener: Listener) -> None:
        """See `ledger.store.Store.listen`. The listener is told of all that is watched when a subscription is back."""
        self._wakeups.listen(listener)

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """See `ledger.store.Store.renew`."""
        return await self._at(slot_of(ref.scope), lambda shard: shard.renew(ref, version, lease_ms))

    async def due(self, limit: int) -> list[Ref]:
        """See `ledger.store.Store.due`. What lapsed with a primary that is away is found when it is back."""
        return await self._in_time(self._sweep.due(limit))

    async def unknowns(self) -> list[UnknownCount]:
        """See `ledger.store.Store.unknowns`. Those with a primary that is away are as they were counted last."""
        return await self._in_time(self._sweep.unknowns())

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """See `ledger.store.Store.scan`. Every primary must answer: a listing that leaves some out would not show it.
        Where the map changes while one lists, keys may be missed or come twice."""
        return await self._in_time(self._listing.page(phase, cursor, limit))

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """See `ledger.store.Store.beat`."""
        return await self._beats.beat(process, acknowledged, refuse_ms)

    async def accept(self) -> None:
        """See `ledger.store.Store.accept`."""
        await self._beats.accept()

    async def _in_time(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await work
        except TimeoutError:
            raise StoreUnavailable(f"redis cluster: no answer of every node in {self._deadline_ms} ms") from None
