"""The Redis store: any number of coordinators share runs and results. Redis 6.2 up, or Valkey, in any topology.

Each call of the port is one script on the one slot of all keys (`redis_scripts`), sent over one shared connection
(`redis_server`). Times are by the server's clock. What an acknowledged write survives is what the server's persistence
says; `RedisRunStore.warnings` puts it in words.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from coordinator.store import Astray, Delivery, Letter, Listener, Page, Put, Standing, Written
from coordinator.stores import cursors
from coordinator.stores import redis_scripts as scripts
from coordinator.stores.holds import checked
from coordinator.stores.redis_cluster import SlotAddress
from coordinator.stores.redis_nudges import Nudges
from coordinator.stores.redis_server import Server
from ledger.stores.redis_address import Address, address_of
from ledger.stores.redis_scripts import Script
from ledger.stores.redis_url import StoreUrl, parse
from ledger.stores.redis_wire import Reply

PAGE_MAX = 500
"""Places or dead letters of a page: some milliseconds of the server's time."""
TIDIED_MAX = 256
"""Forgotten places of each label that counting takes out of the indexes."""
CONSUMER_GONE_MS = 60 * 60 * 1000
"""After this long without a look at the queue, a consumer that has nothing under way is forgotten."""


class RedisRunStore:
    """The port of `coordinator.store` on the server that `url` means (see `ledger.stores.redis_url`); `deadline_ms`
    bounds every call. Raises ValueError for a URL that makes no sense."""

    name = "redis"

    def __init__(self, url: str | StoreUrl, *, deadline_ms: int = 1_000) -> None:
        self.operations = 0
        parsed = parse(url) if isinstance(url, str) else url
        deadline_s = deadline_ms / 1_000
        self._address: Address = (
            SlotAddress(parsed, deadline_s) if parsed.topology == "cluster" else address_of(parsed, deadline_s)
        )
        self._server = Server(self._address, deadline_s)
        self._nudges = Nudges(self._address, deadline_s)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the server can lose, one sentence each, as of the last connection: for the log, at start."""
        return self._server.fitness.warnings

    @property
    def version(self) -> str:
        """The server's version, as of the last connection; empty before the first."""
        return self._server.fitness.version

    async def start(self) -> None:
        """See `coordinator.store.RunStore.start`. May be called again after it failed."""
        await self._server.start()
        self._address.look_out(self._moved)
        self._nudges.start()
        try:
            await self._server.run(scripts.TIDY, CONSUMER_GONE_MS)
        except BaseException:
            await self.close()
            raise

    def _moved(self, where: str) -> None:
        self._server.follow(where)
        self._nudges.follow(where)

    async def close(self) -> None:
        """See `coordinator.store.RunStore.close`."""
        await self._address.close()
        await self._nudges.close()
        await self._server.close()

    async def swap(self, *puts: Put) -> Written | Astray:
        """See `coordinator.store.RunStore.swap`."""
        checked(puts)
        reply = await self._run(scripts.SWAP, *(argument for put in puts for argument in _arguments(put)))
        match reply:
            case 1:
                return Written()
            case [key, None]:
                return Astray(key.decode(), None)
            case [key, standing]:
                return Astray(key.decode(), self._seen(standing))
            case _:
                raise self._server.astray()

    async def read(self, key: str) -> Standing | None:
        """See `coordinator.store.RunStore.read`."""
        reply = await self._run(scripts.READ, key)
        standing = None if reply is None else self._seen(reply)
        if standing is not None and standing.key != key:
            raise self._server.astray()
        return standing

    async def take(self, owner: str, limit: int, visibility_ms: int) -> list[Standing]:
        """See `coordinator.store.RunStore.take`."""
        reply = await self._run(scripts.TAKE, _token(), owner, limit, visibility_ms)
        return [self._seen(place) for place in reply]

    async def renew(self, owner: str, keys: Sequence[str], visibility_ms: int) -> set[str]:
        """See `coordinator.store.RunStore.renew`."""
        return {key.decode() for key in await self._run(scripts.RENEW, owner, visibility_ms, *keys)}

    async def hurry(self, key: str) -> bool:
        """See `coordinator.store.RunStore.hurry`."""
        return await self._said_yes(scripts.HURRY, key)

    def listen(self, owner: str, nudged: Listener) -> None:
        """See `coordinator.store.RunStore.listen`."""
        self._nudges.add(owner, nudged)

    async def scan(self, label: str, cursor: str, limit: int) -> Page:
        """See `coordinator.store.RunStore.scan`."""
        behind = cursors.read(label, cursor)
        limit = max(1, min(limit, PAGE_MAX))
        number, *places = await self._run(scripts.SCAN, label, "" if behind is None else behind, limit)
        more = "" if number is None else cursors.written(label, int(number))
        return Page([self._seen(place) for place in places], more)

    async def counts(self) -> dict[str, int]:
        """See `coordinator.store.RunStore.counts`."""
        reply = await self._run(scripts.COUNTS, TIDIED_MAX)
        return {label.decode(): count for label, count in zip(reply[::2], reply[1::2], strict=True)}

    async def hear(self, webhook: str, keep_ms: int, key: str) -> bool:
        """See `coordinator.store.RunStore.hear`."""
        return await self._said_yes(scripts.HEAR, _token(), webhook, keep_ms, key)

    async def post(self, entry_id: str, entry: bytes, depth_max: int) -> bool:
        """See `coordinator.store.RunStore.post`."""
        return await self._said_yes(scripts.POST, entry_id, entry, depth_max)

    async def deliveries(self, consumer: str, limit: int, idle_ms: int) -> list[Delivery]:
        """See `coordinator.store.RunStore.deliveries`."""
        reply = await self._run(scripts.DELIVERIES, _token(), consumer, max(1, limit), idle_ms)
        return [Delivery(entry_id.decode(), entry, times) for entry_id, entry, times in reply]

    async def done(self, ids: Sequence[str]) -> None:
        """See `coordinator.store.RunStore.done`."""
        await self._run(scripts.DONE, *ids)

    async def depth(self) -> int:
        """See `coordinator.store.RunStore.depth`."""
        self.operations += 1
        return await self._server.length(scripts.RESULTS)

    async def bury(self, delivery_id: str, reason: str, detail: str) -> None:
        """See `coordinator.store.RunStore.bury`."""
        await self._run(scripts.BURY, delivery_id, reason, detail)

    async def letters(self, cursor: str, limit: int) -> tuple[list[Letter], str]:
        """See `coordinator.store.RunStore.letters`."""
        behind = cursors.read(cursors.LETTERS, cursor) or 0
        number, *found = await self._run(scripts.LETTERS, behind, max(1, min(limit, PAGE_MAX)))
        more = "" if number is None else cursors.written(cursors.LETTERS, int(number))
        return [_letter(*fields) for fields in found], more

    async def requeue(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.requeue`."""
        return await self._said_yes(scripts.REQUEUE, _token(), letter_id)

    async def drop(self, letter_id: str) -> bool:
        """See `coordinator.store.RunStore.drop`."""
        return await self._said_yes(scripts.DROP, _token(), letter_id)

    async def _run(self, script: Script, *arguments: bytes | str | int) -> Reply:
        self.operations += 1
        return await self._server.run(script, *arguments)

    async def _said_yes(self, script: Script, *arguments: bytes | str | int) -> bool:
        reply: int = await self._run(script, *arguments)
        return reply == 1

    def _seen(self, reply: Any) -> Standing:
        if type(reply) is not list or len(reply) != 4:
            raise self._server.astray()
        key, version, record, owner = reply
        return Standing(key.decode(), version.decode(), record, owner.decode())


def _token() -> str:
    """Return what a call is known by when it is sent again, where its answer could not be told from what stands."""
    return secrets.token_hex(8)


def _arguments(put: Put) -> tuple[bytes | str | int, ...]:
    """Return a write's nine arguments of `scripts/swap.lua`."""
    in_ms = "" if put.in_ms is None else put.in_ms
    forget_ms = "" if put.forget_ms is None else put.forget_ms
    return (put.key, put.expected or "", put.version, put.record, put.label, put.owner, put.then, in_ms, forget_ms)


def _letter(entry_id: bytes, entry: bytes, reason: bytes, detail: bytes, since: bytes) -> Letter:
    return Letter(entry_id.decode(), entry, reason.decode(), detail.decode(), int(since))
