"""Whether the server's memory went back: each process counts its heartbeats there, and knows how far it had counted.

A restart from an old snapshot, a failover to a replica that was behind and a flush all leave a count that is lower
than one that was acknowledged, or none. A marker would not do: a snapshot has it, too. What is lost without a heartbeat
among it goes unnoticed: less than a second's worth, and the less the more processes beat.

The refusal is a key of the server's, for everybody, and ends by its clock. Where it is lost itself, so are counts.

Nothing is claimed on a new connection before the count was compared there (`look_back`), nor, where it was lower,
before the next beat has told so: who waits to ask again comes in the first moment. On a connection that stays (a
flush), the next beat notices.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from ledger.store import Beat, StoreUnavailable
from ledger.stores.redis_errors import ErrorReply, unavailable
from ledger.stores.redis_scripts import BEAT
from ledger.stores.redis_wire import Line, Reply, pack

COUNT_KEPT_MS = 12 * 60 * 60 * 1000
"""How long a process's count outlives its last beat. Who was cut off for longer causes a refusal: a false alarm."""
TAG = b"memory"
"""The hash tag of the keys on a server that has all slots."""


class Beats:
    """Counts on one server. `run` runs a script, `ask` sends a command and returns its reply, of the type given first.

    `tag` is in the braces of all keys, so that each primary of a cluster can have a count of its own.
    """

    def __init__(
        self, run: Callable[..., Awaitable[Reply]], ask: Callable[..., Awaitable[Any]], tag: bytes = TAG
    ) -> None:
        self._run = run
        self._ask = ask
        self._counts = b"holdfast:{%s}:beats:" % tag
        self._refusal = b"holdfast:{%s}:refusal" % tag
        self._last: _Acknowledged | None = None
        self.holding_back = False
        """A new connection leads to a memory that went back, and no beat has told so yet."""

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """See `ledger.store.Store.beat`."""
        count, refusing_ms = await self._run(BEAT, *self._arguments(process, acknowledged, refuse_ms))
        self._last = _Acknowledged(process, count, refuse_ms, refusing_ms > 0)
        self.holding_back = False
        return Beat(count, refusing_ms)

    async def accept(self) -> None:
        """See `ledger.store.Store.accept`."""
        await self._ask(int, b"UNLINK", self._refusal)

    async def look_back(self, line: Line) -> None:
        """Compare the count on a new connection with what was acknowledged on earlier ones; if it is lower, or somebody
        else has found his to be, `holding_back` is set until the next beat. Raises StoreUnavailable."""
        if self._last is None:
            return
        last = self._last
        arguments = self._arguments(last.process, last.count, last.refuse_ms)
        match await line.send(pack((b"EVALSHA", BEAT.sha, *arguments))):
            case [_, int(refusing_ms)]:
                self.holding_back = self.holding_back or (refusing_ms > 0 and not last.refusing)
            case ErrorReply() as reply:
                raise unavailable(reply, line.where)
            case reply:
                raise StoreUnavailable(f"redis at {line.where}: {reply}")

    def _arguments(self, process: str, acknowledged: int, refuse_ms: int) -> tuple[bytes | str | int, ...]:
        key = self._counts + process.encode()
        return (2, key, self._refusal, process, acknowledged, refuse_ms, COUNT_KEPT_MS)


class _Acknowledged(Struct, frozen=True):
    process: str
    count: int
    refuse_ms: int
    refusing: bool
