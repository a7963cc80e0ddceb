"""Swaps that count as written only once replicas have them: the policy's `replicas`, Redis's `WAIT`.

`WAIT` speaks of what its own connection wrote before, and everything behind it stands still meanwhile. So such swaps go
over a connection of their own beside the hot one, opened at the first of them, and those that come while a `WAIT` is
under way share the next: however slow the replicas are, a caller waits for two at most.

`WAIT` narrows what a failover can lose and does not end it: a replica that has not got the write may still be promoted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from ledger.store import StoreUnavailable
from ledger.stores.redis_errors import ELSEWHERE, ErrorReply, Lost, unavailable
from ledger.stores.redis_link import Link
from ledger.stores.redis_runner import Runner
from ledger.stores.redis_scripts import SWAP
from ledger.stores.redis_wire import COMMANDS_MAX, Line, Reply, pack

WAIT_SHARE = 0.4
"""Of the deadline, for how long replicas are waited for: a swap may have to wait for the batch before its own, too."""
BATCH_MAX = 256
"""Swaps of one `WAIT`: some milliseconds of the server's time."""
BATCH_BYTES = 8 * 1024 * 1024


class _Entry(Struct, frozen=True):
    """A swap that waits for its batch. `answer` resolves with its reply, and how many replicas have it."""

    command: bytes
    replicas: int
    answer: asyncio.Future[tuple[Reply, int]]


class Replicated:
    """Sends swaps that replicas must have. `open_line` opens a line that is fit, `where` names the server."""

    def __init__(self, open_line: Callable[[], Awaitable[Line]], where: str, deadline_s: float) -> None:
        self._link = Link(open_line, deadline_s)
        self._runner = Runner(self._link, where, deadline_s)
        self._where = where
        self._deadline_s = deadline_s
        self._queue: list[_Entry] = []
        self._sending: asyncio.Task[None] | None = None
        self._kept = False

    async def swap(self, command: bytes, replicas: int) -> Reply:
        """Send a packed swap, and return its reply. If it wrote, so many `replicas` have what it wrote; where fewer say
        so in time, or it cannot be sent, raises StoreUnavailable: it may be written, and may be sent again."""
        if not self._kept:
            self._kept = True
            self._link.keep()
        reply, have = await self._in_a_batch(command, replicas)
        if type(reply) is ErrorReply:
            # The scripts were flushed: it is loaded and the swap sent; or it is refused for good. The same version once
            # more is written as it was, and waited for.
            await self._runner.made_good(SWAP, command, reply)
            reply, have = await self._in_a_batch(command, replicas)
            reply = await self._runner.made_good(SWAP, command, reply)
        if type(reply) is bytes and have < replicas:
            within = f"within {self._wait_ms} ms"
            raise StoreUnavailable(f"redis at {self._where}: {have} of {replicas} replicas have the write {within}")
        return reply

    def follow(self, *places: str) -> None:
        """Send on another connection unless this one leads to one of these places."""
        self._link.follow(*places)

    async def close(self) -> None:
        """Let go of the connection. Swaps under way are finished or fail with `StoreUnavailable`."""
        self._kept = False
        await self._link.close()
        if self._sending is not None:
            await self._sending  # ends by itself: without a link, nothing can be sent

    @property
    def _wait_ms(self) -> int:
        return max(1, round(self._deadline_s * 1000 * WAIT_SHARE))

    async def _in_a_batch(self, command: bytes, replicas: int) -> tuple[Reply, int]:
        if len(self._queue) >= COMMANDS_MAX:
            raise StoreUnavailable(f"redis at {self._where}: {len(self._queue)} writes wait for replicas")
        loop = asyncio.get_running_loop()
        entry = _Entry(command, replicas, loop.create_future())
        self._queue.append(entry)
        if self._sending is None:
            self._sending = loop.create_task(self._send_all(), name="redis replicated writes")
        try:
            async with asyncio.timeout(self._deadline_s):
                return await entry.answer
        except TimeoutError:
            raise self._link.given_up() from None

    async def _send_all(self) -> None:
        try:
            while self._queue:
                batch = self._next_batch()
                try:
                    await self._send(batch)
                except StoreUnavailable as error:
                    for entry in batch:
                        if not entry.answer.done():
                            entry.answer.set_exception(StoreUnavailable(str(error)))
        finally:
            self._sending = None

    def _next_batch(self) -> list[_Entry]:
        """Take the next swaps from the queue, without those that nobody waits for any more."""
        taken = size = 0
        for entry in self._queue[:BATCH_MAX]:
            size += len(entry.command)
            if taken and size > BATCH_BYTES:
                break
            taken += 1
        batch, self._queue = self._queue[:taken], self._queue[taken:]
        return [entry for entry in batch if not entry.answer.done()]

    async def _send(self, batch: list[_Entry]) -> None:
        """Send a batch and its `WAIT`, once more on another connection where this one is lost or leads astray."""
        if not batch:
            return
        until = asyncio.get_running_loop().time() + self._deadline_s
        wait = pack((b"WAIT", max(entry.replicas for entry in batch), self._wait_ms))
        for _ in range(2):
            line = await self._link.line(until)
            sent = [line.send(entry.command) for entry in batch]
            *replies, have = await asyncio.gather(*sent, line.send(wait))
            elsewhere = [reply for reply in (*replies, have) if _leads_elsewhere(reply)]
            if not elsewhere:
                self._answer(batch, replies, have)
                return
            line.drop(str(elsewhere[0]))
        raise StoreUnavailable(f"redis at {self._where}: the connection was lost twice with the same writes under way")

    def _answer(self, batch: list[_Entry], replies: list[Reply], have: Reply) -> None:
        if type(have) is ErrorReply:
            raise unavailable(have, self._where)
        if isinstance(have, Exception):
            raise have
        if type(have) is not int:
            raise self._runner.astray()
        for entry, reply in zip(batch, replies, strict=True):
            if not entry.answer.done():
                entry.answer.set_result((reply, have))


def _leads_elsewhere(reply: Reply) -> bool:
    return type(reply) is Lost or (type(reply) is ErrorReply and reply.code in ELSEWHERE)
