"""The Redis store: any number of sidecars and coordinators share what is known. One server, Redis 6.2 up, or Valkey.

Each call of the port is one script on one hash slot (`redis_scripts`), sent over one shared connection (`redis_wire`)
that is opened anew when it is lost (`redis_link`). Leases, ages and retention are all by the server's clock.

What an acknowledged write survives is what the server's persistence says; `RedisStore.warnings` puts it in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ledger.key import Ref
from ledger.store import Beat, Held, Listener, Page, Phase, Present, StoreUnavailable, UnknownCount, Write, Written
from ledger.stores.redis_address import CONNECT_S, Address, address_of
from ledger.stores.redis_beats import Beats
from ledger.stores.redis_fitness import Fitness, examine
from ledger.stores.redis_link import Link
from ledger.stores.redis_listing import Listing
from ledger.stores.redis_replicated import Replicated
from ledger.stores.redis_runner import Runner
from ledger.stores.redis_scopes import Scopes
from ledger.stores.redis_scripts import READ, RENEW, SWAP, ScopeKeys
from ledger.stores.redis_swap import pack_swap
from ledger.stores.redis_sweep import Sweep
from ledger.stores.redis_url import StoreUrl, parse
from ledger.stores.redis_wakeups import Wakeups
from ledger.stores.redis_wire import Line

WATCH_ABSENT_MS = 10 * 60 * 1000
"""How long a place where nothing stands remembers that it is watched: longer than anybody waits for it."""

T = TypeVar("T")
Answer = Written | Present | Held | None

_WRITTEN = Written()


class RedisStore:
    """The port of `ledger.store` on the server that `url` means (see `redis_url`, and `redis_cluster` for clusters);
    `deadline_ms` bounds every call.

    Raises ValueError for a URL that makes no sense.
    """

    name = "redis"

    def __init__(self, url: str | StoreUrl | Address, *, deadline_ms: int = 1000) -> None:
        self._deadline_s = deadline_ms / 1000
        parsed = parse(url) if isinstance(url, str) else url
        self._address = address_of(parsed, self._deadline_s) if isinstance(parsed, StoreUrl) else parsed
        self._link = Link(self._open, self._deadline_s)
        self._wakeups = Wakeups(self._address, self._deadline_s)
        self._runner = Runner(self._link, self._address.where, self._deadline_s)
        self._replicated = Replicated(self._open, self._address.where, self._deadline_s)
        self._scopes = Scopes(self._runner.ask)
        self._sweep = Sweep(self._scopes, self._runner.run)
        self._listing = Listing(self._scopes, self._runner.run, self._runner.ask)
        self._beats = Beats(self._runner.run, self._runner.ask)
        self._fitness = Fitness("", ())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the server can lose, one sentence each, as of the last connection: for the log, at start."""
        return self._fitness.warnings

    @property
    def version(self) -> str:
        """The server's version, as of the last connection; empty before the first."""
        return self._fitness.version

    async def start(self) -> None:
        """See `ledger.store.Store.start`. May be called again after it failed."""
        await self._link.start()
        self._address.look_out(self._moved)

    def _moved(self, where: str) -> None:
        for part in (self._link, self._replicated, self._wakeups):
            part.follow(where)

    def check_kept(self) -> None:
        """Raise `StoreUnavailable` before the start and after the end."""
        self._link.check_kept()

    async def close(self) -> None:
        """See `ledger.store.Store.close`."""
        await self._address.close()
        await self._wakeups.close()
        await self._replicated.close()
        await self._link.close()

    async def _open(self) -> Line:
        """Return a line to a server that is fit to hold claims. Raises StoreUnavailable or UnfitStore."""
        line = await self._address.open()
        try:
            async with asyncio.timeout(CONNECT_S):
                self._fitness = await examine(line, self._address.topology)
                await self._scopes.carry_over(line)
                await self._beats.look_back(line)
            if self._beats.holding_back:
                # Claims that were sent before the loss wait to be repeated on this line: until they have given up, it
                # is not handed out. Later ones find their scopes unknown, and are held back before they are sent.
                self._scopes.forget()
                await asyncio.sleep(self._deadline_s)
        except BaseException as error:
            await line.close()
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(f"redis at {line.where} does not say in time what it is") from error
            raise
        return line

    def swap(self, ref: Ref, expected: str | None, write: Write) -> Coroutine[Any, Any, Answer]:
        """See `ledger.store.Store.swap`."""
        keys = self._scopes.known(ref.scope)
        if keys is None:
            return self._in_time(self._swap_in_new_scope(ref, expected, write))
        return self._swap(keys, ref, expected, write)

    async def _swap_in_new_scope(self, ref: Ref, expected: str | None, write: Write) -> Answer:
        if self._beats.holding_back:
            if write.phase == "in_flight":
                raise StoreUnavailable(f"redis at {self._address.where} has lost memory: nothing is claimed for now")
            return await self._swap(self._scopes.keys(ref.scope), ref, expected, write)
        keys = await self._scopes.register(ref.scope)
        return await self._swap(keys, ref, expected, write)

    async def _swap(self, keys: ScopeKeys, ref: Ref, expected: str | None, write: Write) -> Answer:
        operation, version = ref.operation.encode(), write.version.encode()
        command = pack_swap(keys, operation, (expected or "").encode(), version, write)
        if write.replicas:
            self._link.check_kept()
            reply = await self._replicated.swap(command, write.replicas)
        else:
            reply = await self._link.call(command)
        if reply == version:
            return _WRITTEN
        match await self._runner.made_good(SWAP, command, reply):
            case None:
                return None
            case [b"held", holder, standing]:
                return Held(holder.decode(), None if standing is None else self._present(standing, holder))
            case list() as standing:
                return self._present(standing, operation)
            case again if again == version:
                return _WRITTEN
            case _:
                raise self._runner.astray()

    async def read(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.read`."""
        return await self._read(ref, b"")

    async def watch(self, ref: Ref) -> Present | None:
        """See `ledger.store.Store.watch`."""
        self._link.check_kept()
        if not self._wakeups.add(ref.operation):
            await self._wakeups.come_up()
        return await self._read(ref, WATCH_ABSENT_MS)

    async def _read(self, ref: Ref, watch: int | bytes) -> Present | None:
        keys = self._scopes.keys(ref.scope)
        operation = ref.operation.encode()
        record, reply = keys.record + operation, keys.reply + operation
        standing = await self._runner.run(READ, 2, record, reply, operation, watch)
        return None if standing is None else self._present(standing, operation)

    def listen(self, listener: Listener) -> None:
        """See `ledger.store.Store.listen`. The listener is told of all that is watched when a subscription is back."""
        self._wakeups.listen(listener)

    async def renew(self, ref: Ref, version: str, lease_ms: int) -> bool:
        """See `ledger.store.Store.renew`."""
        keys = self._scopes.keys(ref.scope)
        operation = ref.operation.encode()
        record, reply = keys.record + operation, keys.reply + operation
        renewed: int = await self._runner.run(RENEW, 3, record, reply, keys.due, operation, version, lease_ms)
        return renewed == 1

    async def due(self, limit: int) -> list[Ref]:
        """See `ledger.store.Store.due`. Of very many scopes, looks at some 1,000 each time, the next ones next time."""
        return await self._in_time(self._sweep.due(limit))

    async def unknowns(self) -> list[UnknownCount]:
        """See `ledger.store.Store.unknowns`. Of very many scopes, counts some 1,000 anew each time."""
        return await self._in_time(self._sweep.unknowns())

    async def scan(self, phase: Phase | None, cursor: str, limit: int) -> Page:
        """See `ledger.store.Store.scan`. Those in flight come by the end of their leases, so the first has not been
        renewed for longest; of very many scopes, some 1,000 are merged at a time."""
        return await self._in_time(self._listing.page(phase, cursor, limit))

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """See `ledger.store.Store.beat`."""
        return await self._beats.beat(process, acknowledged, refuse_ms)

    async def accept(self) -> None:
        """See `ledger.store.Store.accept`. A process that notices the same loss after that has all refuse again."""
        await self._beats.accept()

    async def _in_time(self, work: Coroutine[None, None, T]) -> T:
        """Bound what takes several commands by the one deadline."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await work
        except TimeoutError:
            raise self._link.given_up() from None

    def _present(self, reply: list[Any], operation: bytes) -> Present:
        if len(reply) != 5 or reply[0] != operation:
            raise self._runner.astray()
        _, version, record, result, left = reply
        return Present(version.decode(), record, result, None if left is None else int(left))
