"""A line that is opened anew whenever it is lost, and commands that survive the loss.

What was under way when a connection was lost is sent once more on the next one, within the caller's deadline: all that
the store sends has the effect of one when it is sent twice. A server that stalls is not asked again, because twice the
commands do not make it faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from ledger.store import StoreUnavailable, UnfitStore
from ledger.stores.redis_errors import ELSEWHERE, ErrorReply, Lost
from ledger.stores.redis_wire import COMMANDS_MAX, Line, Reply, pack

HEARTBEAT_S = 5.0
"""How often a line is asked for a sign of life: a peer that vanished without a word is found out while nobody waits."""
BACKOFF_BASE_S = 0.02
BACKOFF_MAX_S = 2.0
"""Between attempts to connect: doubled from base to max and multiplied by a random share, so that a fleet whose server
restarts does not come back in step. A line that lives for longer than the maximum begins anew."""

_PING: bytes = pack(("PING",))


class Link:
    """Keeps one line open. `open_line` returns one that is fit for use, or raises StoreUnavailable or UnfitStore."""

    def __init__(
        self, open_line: Callable[[], Awaitable[Line]], deadline_s: float, jitter: Callable[[], float] = random.random
    ) -> None:
        self._open_line = open_line
        self._deadline_s = deadline_s
        self._jitter = jitter
        self._line: Line | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._waiters = 0
        self._why = "redis: the store is not started"
        self._down_since: float | None = None
        self._hurry = asyncio.Event()

    async def start(self) -> None:
        """Open the first line and keep one open from then on. Raises what `open_line` raises; may be called again."""
        if self._keeper is None:
            line = await self._open_line()
            self.keep(line)

    def keep(self, line: Line | None = None) -> None:
        """Keep a line open from now on, beginning with `line` if there is one already."""
        loop = asyncio.get_running_loop()
        self._arrival = loop.create_future()
        if line is not None:
            self._arrive(line)
        else:
            self._down_since = loop.time()
        self._keeper = loop.create_task(self._keep(line), name="redis link")

    async def close(self) -> None:
        """Finish what is under way, within the deadline, and let go of the line."""
        keeper, line, arrival = self._keeper, self._line, self._arrival
        self._keeper = self._line = self._arrival = None
        self._why = "redis: the store is closed"
        if arrival is not None:
            arrival.cancel()
        if keeper is None:
            return
        try:
            if line is not None:
                await line.drained()
        finally:  # cancelled, too: the keeper must not outlive its store
            keeper.cancel()
        await asyncio.wait([keeper])
        if line is not None:  # a keeper that was cancelled before its first step has closed nothing
            await line.close()

    def check_kept(self) -> None:
        """Raise `StoreUnavailable` before the start and after the end."""
        if self._keeper is None:
            raise StoreUnavailable(self._why)

    async def line(self, until: float) -> Line:
        """Return the open line, for who sends several commands that belong together; wait for one until `until` (loop
        time). Raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout_at(until):
                return await self._next_line()
        except TimeoutError:
            raise self.given_up() from None

    async def call(self, command: bytes, until: float | None = None) -> Reply:
        """Send a packed command and return its reply, or the `ErrorReply` to it.

        `until` (loop time) ends it earlier than the deadline. Raises `StoreUnavailable`.
        """
        line = self._line
        if line is None or until is not None or not line.usable:
            return await self._call_patiently(command, until, tries=2)
        answer = line.send(command)
        sent_at = line.sent_at
        reply = await answer
        if not isinstance(reply, Exception) or self._is_final(line, reply):
            return reply
        return await self._call_patiently(command, sent_at + self._deadline_s, tries=1)

    async def _call_patiently(self, command: bytes, until: float | None, tries: int) -> Reply:
        """Send on the next line there is, and while there are tries left, on the one after each that is lost."""
        if until is None:
            until = asyncio.get_running_loop().time() + self._deadline_s
        for _ in range(tries):
            try:
                async with asyncio.timeout_at(until):
                    line = await self._next_line()
                    reply = await line.send(command)
            except TimeoutError:
                raise self.given_up() from None
            if not isinstance(reply, Exception) or self._is_final(line, reply):
                return reply
        raise StoreUnavailable(f"redis: the connection was lost twice with the same command under way ({reply})")

    def follow(self, *places: str) -> None:
        """Give the present line up unless it leads to one of these places: another one is opened. Where there is none,
        do not wait for the next attempt: somebody has heard that it is worth one."""
        self._hurry.set()
        if self._line is not None and self._line.where not in places:
            self._line.drop(f"what it led to is at {', '.join(places)} now")

    def drop(self, why: str) -> None:
        """Give the present line up; another one is opened."""
        if self._line is not None:
            self._line.drop(why)

    def given_up(self) -> StoreUnavailable:
        """Return what a caller is told whose deadline is over."""
        return StoreUnavailable(f"{self._why} (given up after {self._deadline_s * 1000:.0f} ms)")

    def _is_final(self, line: Line, reply: Exception) -> bool:
        """Say whether an exceptional reply is the caller's answer; else the command is worth repeating elsewhere."""
        match reply:
            case Lost():
                return False
            case ErrorReply() if reply.code in ELSEWHERE:
                line.drop(str(reply))
                return False
            case ErrorReply():
                return True
            case _:
                raise reply

    async def _next_line(self) -> Line:
        """Return the open line. While there is none, wait: but only in the beginning of an outage."""
        loop = asyncio.get_running_loop()
        while self._line is None or not self._line.usable:
            long_since = self._down_since is not None and loop.time() - self._down_since > self._deadline_s
            if self._keeper is None or self._arrival is None or long_since:
                raise StoreUnavailable(self._why)
            if self._waiters >= COMMANDS_MAX:
                raise StoreUnavailable(f"{self._why}, and {self._waiters} commands wait for it")
            self._waiters += 1
            try:
                await asyncio.wait([self._arrival])
            finally:
                self._waiters -= 1
        return self._line

    def _arrive(self, line: Line) -> None:
        self._line = line
        self._why = f"redis at {line.where}: no answer"
        self._down_since = None
        arrived, self._arrival = self._arrival, asyncio.get_running_loop().create_future()
        if arrived is not None:
            arrived.set_result(None)

    async def _keep(self, line: Line | None) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        try:
            while True:
                if line is None:
                    try:
                        line = await self._open_line()
                    except Exception as error:  # noqa: BLE001  whatever a server says, we go on asking and tell why
                        self._why = str(error) if isinstance(error, StoreUnavailable | UnfitStore) else repr(error)
                        failures = await self._back_off(failures)
                        continue
                    self._arrive(line)
                opened_at = loop.time()
                await self._until_gone(line)
                self._why = f"redis at {line.where}: the connection was lost ({line.gone.result()})"
                self._line, self._down_since = None, loop.time()
                await line.close()
                line = None
                failures = await self._back_off(0 if loop.time() - opened_at > BACKOFF_MAX_S else failures)
        finally:
            if line is not None:
                await line.close()

    async def _back_off(self, failures: int) -> int:
        pause_s = self._jitter() * min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(failures, 16))
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()
        return failures + 1

    async def _until_gone(self, line: Line) -> None:
        while line.usable:
            await asyncio.wait([line.gone], timeout=HEARTBEAT_S)
            with contextlib.suppress(StoreUnavailable):  # too much under way is a sign of life to wait for
                line.send(_PING)
