"""A tool that does as its script says, behind the real port of the forward, with a ledger of its own.

What it did is in `Tool.executions`, which is the truth that all else is held against (I1). Its replies name the
operation and the execution that they come from, so that anybody's answer can be traced (I2, I3).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Literal

from msgspec import Struct

from proxy.forward import Headers, Lost, NotSent, Outbound, Outcome, Replied
from tests.proxy.gate import Gate

JSON = ((b"Content-Type", b"application/json"),)


class Answers(Struct, frozen=True):
    """It replies, `after_s` from the first byte. It acts unless its status says that it refused (4xx)."""

    status: int = 200
    after_s: float = 0.05
    acts: bool | None = None
    body: bytes | None = None
    headers: Headers = JSON
    framing: Literal["length", "chunked", "close", "none"] = "length"
    pieces: tuple[bytes, ...] | None = None
    """When given, the reply is not whole: these follow as a stream."""

    @property
    def executed(self) -> bool:
        """Whether the side effect happened."""
        return not 400 <= self.status < 500 if self.acts is None else self.acts


class Refuses(Struct, frozen=True):
    """Nothing can be sent: it cannot be reached."""

    after_s: float = 0.01
    timed_out: bool = False


class Cuts(Struct, frozen=True):
    """It takes the request, acts or not, and cuts the connection."""

    after_s: float = 0.05
    acts: bool = True


class Hangs(Struct, frozen=True):
    """It takes the request, acts or not, and says nothing ever."""

    acts: bool = True


class Breaks(Struct, frozen=True):
    """The forward itself raises `ValueError`, before it dials or after it wrote."""

    sent: bool


class Prompted(Struct, frozen=True):
    """It takes the request, acts or not, and is told later what to say: see `Tool.prompt`."""

    acts: bool = True


Step = Answers | Refuses | Cuts | Hangs | Breaks | Prompted


class Attempt(Struct):
    """One forward as the tool's side sees it. `ended` as soon as nothing more can come of it; `gate` is its
    process's."""

    operation: str
    gate: Gate
    acted: bool = False
    execution: int = 0
    ended: bool = False
    outcome: Outcome | None = None


class Piecemeal:
    """A `ReplyStream` of given pieces; `closed` tells that somebody let go of it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = tuple(pieces)
        self.closed = False

    @property
    def trailers(self) -> Headers:
        """None."""
        return ()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece

    def close(self) -> None:
        """Hang up."""
        self.closed = True


class Tool:
    """Plays `script`, step by step, then `usual` for ever."""

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.usual: Step = Answers()
        self.requests: list[Outbound] = []
        self.executions: Counter[str] = Counter()
        self.streams: list[Piecemeal] = []
        self.attempts: list[Attempt] = []
        self.prompts: dict[str, asyncio.Future[Answers | Cuts]] = {}
        self.dialled = 0

    def will(self, *steps: Step) -> None:
        """Add to the script."""
        self.script.extend(steps)

    @property
    def executed(self) -> int:
        """How often it acted, whoever asked."""
        return self.executions.total()

    def next_step(self) -> Step:
        """Return what happens to the next request."""
        self.dialled += 1
        return self.script.popleft() if self.script else self.usual

    def prompt(self, operation: str, end: Answers | Cuts) -> None:
        """Say what comes of the `Prompted` request of `operation`."""
        self.prompts.pop(operation).set_result(end)

    async def prompted(self, operation: str) -> Answers | Cuts:
        """Wait for the prompt."""
        self.prompts[operation] = asyncio.get_running_loop().create_future()
        return await self.prompts[operation]

    def reply(self, step: Answers, attempt: Attempt) -> Replied:
        """Return the reply that `step` describes."""
        body = step.body
        if body is None:
            body = b'{"operation": "%b", "execution": %d}' % (attempt.operation.encode(), attempt.execution)
        stream = None
        if step.pieces is not None:
            stream = Piecemeal(step.pieces)
            self.streams.append(stream)
        return Replied(step.status, b"", step.headers, body, step.framing, stream)


class ScriptedForward:
    """One process's way to the tool."""

    def __init__(self, tool: Tool, gate: Gate) -> None:
        self.tool = tool
        self._gate = gate

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """See `proxy.forward.Forward`."""
        attempt = Attempt(dict(request.headers).get(b"Holdfast-Operation", b"").decode(), self._gate)
        self.tool.attempts.append(attempt)
        try:
            attempt.outcome = await self._play(request, attempt, on_sent)
            return attempt.outcome
        finally:
            attempt.ended = True

    async def _play(self, request: Outbound, attempt: Attempt, on_sent: Callable[[], None] | None) -> Outcome:
        tool = self.tool
        await self._gate.network("dial")
        step = tool.next_step()
        await asyncio.sleep(0.001)
        if isinstance(step, Refuses):
            await asyncio.sleep(step.after_s)
            return NotSent("connect", "refused", step.timed_out)
        if step == Breaks(sent=False):
            raise ValueError("a header that cannot be put on a wire")
        if on_sent is not None:
            on_sent()
        await self._gate.network("send")
        tool.requests.append(request)
        if step == Breaks(sent=True):
            raise ValueError("a fault of the forward's own")
        assert not isinstance(step, Breaks)
        attempt.acted = step.executed if isinstance(step, Answers) else step.acts
        tool.executions[attempt.operation] += attempt.acted
        attempt.execution = tool.executions[attempt.operation]
        if isinstance(step, Hangs):
            await asyncio.Event().wait()
        end = await tool.prompted(attempt.operation) if isinstance(step, Prompted) else step
        assert isinstance(end, Answers | Cuts)
        await asyncio.sleep(end.after_s)
        await self._gate.network("receive")
        return tool.reply(end, attempt) if isinstance(end, Answers) else Lost("connection reset")
