"""Observe mode: every request is forwarded as if Holdfast were not there, and what enforcement would have done is told.

Beside each forward a shadow of the guard judges the same arrival, with executions, leases and records of its own making
(`Works.shadow`): whatever `proxy.guard` does with a call, it is what this says would have been done. The shadow sends
nothing. What it takes for its forward is the caller's own, looked at as it goes by (`Observed`), and nothing that it
says, or fails to say, reaches the caller (decision 0022).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from ledger.store import StoreUnavailable
from proxy.answer import Answer
from proxy.arrival import Arrival
from proxy.execution import SHUTDOWN
from proxy.forward import Headers, Lost, Outbound, Outcome, Replied, ReplyStream, Truncated
from proxy.guard import Guard
from proxy.leases import Leases
from proxy.works import Works


class Observed:
    """A caller's own forward, as its shadow sees it: a `proxy.forward.Forward` that sends nothing.

    `bytes_max` of a reply are gathered for the record on their way to the caller; `listen_s` is how long a reply is
    read on for that after the caller has gone.
    """

    def __init__(self, bytes_max: int, listen_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.bytes_max = bytes_max
        self.listen_s = listen_s
        self._sent: asyncio.Future[bool] = loop.create_future()
        self._ended: asyncio.Future[Outcome] = loop.create_future()

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """See `proxy.forward.Forward`. To cancel it hangs up on nobody."""
        if await asyncio.shield(self._sent) and on_sent is not None:
            on_sent()
        return await asyncio.shield(self._ended)

    def sent(self) -> None:
        """The first byte is about to be written."""
        if not self._sent.done():
            self._sent.set_result(True)

    def end(self, outcome: Outcome) -> None:
        """Say how the forward ended; the first word counts."""
        if not self._ended.done():
            self._ended.set_result(outcome)
        if not self._sent.done():
            self._sent.set_result(False)

    def look_at(self, outcome: Outcome) -> Outcome:
        """Take note of how the forward ended, and return what to answer from: the same, read on the way if it is a
        stream."""
        if not isinstance(outcome, Replied):
            self.end(outcome)
            return outcome
        if outcome.stream is None:
            passed_on = len(outcome.body) > self.bytes_max or _never_kept(outcome, self.bytes_max)
            self.end(replace(outcome, stream=Over()) if passed_on else outcome)
            return outcome
        return replace(outcome, body=b"", stream=Copied(outcome, outcome.stream, self))


class Over:
    """A `ReplyStream` that is at its end: of a reply that came in one piece, and would not have been kept."""

    trailers: Headers = ()

    def __aiter__(self) -> Over:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    def close(self) -> None:
        """Nothing is open."""


class Copied:
    """A `ReplyStream` that is gathered as it goes by, as far as enforcement would have kept it. Who hangs up on it
    hangs up on the tool, but for a reply that would have been kept: that is read to its end all the same."""

    def __init__(self, reply: Replied, stream: ReplyStream, seen: Observed) -> None:
        self._reply = reply
        self._stream = stream
        self._pieces = stream.__aiter__()
        self._seen = seen
        self._first = reply.body
        self._kept: list[bytes] | None = []
        self._size = 0
        self._reading = self._over = False
        self._task: asyncio.Task[None] | None = None
        if _never_kept(reply, seen.bytes_max):
            self._let_go()

    @property
    def trailers(self) -> Headers:
        """The trailers, once the stream is at its end."""
        return self._stream.trailers

    def __aiter__(self) -> Copied:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return self._took(first)
        self._reading = True
        try:
            return self._took(await self._pieces.__anext__())
        except StopAsyncIteration:
            self._over = True
            if self._kept is not None:
                whole = replace(self._reply, body=b"".join(self._kept), stream=None, trailers=self._stream.trailers)
                self._seen.end(whole)
            raise
        except BaseException as error:  # cut short, or nobody reads on: half of it is nobody's result
            self._kept = None
            self._seen.end(Lost(str(error) or "the reply was not read to its end"))
            raise
        finally:
            self._reading = False

    def close(self) -> None:
        """Read on for the record if that is of use, else hang up on the tool."""
        if self._kept is None or self._over:
            self._stream.close()
        elif not self._reading and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read_on())

    async def _read_on(self) -> None:
        try:
            async with asyncio.timeout(self._seen.listen_s):
                async for _ in self:
                    if self._kept is None:
                        return
        except (Truncated, TimeoutError):
            return
        finally:
            self._stream.close()

    def _took(self, piece: bytes) -> bytes:
        if self._kept is not None:
            self._kept.append(piece)
            self._size += len(piece)
            if self._size > self._seen.bytes_max:
                self._let_go()
        return piece

    def _let_go(self) -> None:
        """It is not to be kept: settled as such from here on, as enforcement does it."""
        self._kept = None
        self._seen.end(replace(self._reply, stream=self))


def _never_kept(reply: Replied, bytes_max: int) -> bool:
    """Say whether a reply's head shows that it would not be kept."""
    for name, value in reply.headers:
        lower = name.lower()
        if lower == b"content-length" and value.isdigit() and int(value) > bytes_max:
            return True
        if lower == b"content-type" and b"event-stream" in value.lower():
            return True
    return False


class Observer:
    """One per process. Its executions are no part of the process's own: they are counted nowhere, and nobody waits for
    them but at the process's end."""

    def __init__(self, works: Works) -> None:
        self._works = works
        self.shadow = works.shadow()
        self._guard = Guard(self.shadow)
        self._leases = Leases(self.shadow, works.books.lease_ms, lambda: 0.5)
        self._renewing: asyncio.Task[None] | None = None

    def judge(self, arrival: Arrival) -> asyncio.Task[str]:
        """Let a shadow of a request arrive; the task ends with what would have been done about it."""
        self.shadow.refusing, self.shadow.forgot = self._works.refusing, self._works.forgot
        loop = asyncio.get_running_loop()
        if self._renewing is None or self._renewing.done():
            self._renewing = loop.create_task(self._renew())
        return loop.create_task(self._judge(arrival))

    async def close(self, seconds_max: float) -> None:
        """The process ends: what is under way becomes unknown."""
        for execution in self.shadow.everyone():
            execution.give_up("the proxy stopped before the tool answered", SHUTDOWN)
        if tasks := [execution.task for execution in self.shadow.everyone()]:
            await asyncio.wait(tasks, timeout=seconds_max)
        await self.shadow.outbox.close(0)
        if self._renewing is not None:
            self._renewing.cancel()

    async def _judge(self, arrival: Arrival) -> str:
        try:
            return _would(await self._guard.call(arrival))
        except Exception as error:  # noqa: BLE001  # a fault of ours, which the caller must not notice
            self._works.log.event(
                "observe.failed", level="error", operation=arrival.ref.operation, error=type(error).__name__
            )
            return "failed"

    async def _renew(self) -> None:
        """Keep the leases of what is under way; without them its duplicates would look unknown."""
        pause_s = self._works.books.lease_ms / 3_000
        await asyncio.sleep(pause_s)
        while self.shadow.everyone():
            try:
                await self._leases.renew()
            except StoreUnavailable as error:
                self._works.log.event("leases.postponed", level="warning", detail=str(error))
            await asyncio.sleep(pause_s)


def _would(given: Answer) -> str:
    """Return in one word what a caller would have been answered: how a duplicate was kept from the tool, why a request
    was refused, or what came of its forward."""
    if given.how:
        return given.how
    return given.problem if given.outcome == "refused" or given.problem == "in-flight" else given.outcome
