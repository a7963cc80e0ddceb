"""A tool that honours keys, behind the forward's port: one key, one execution, however often it is asked.

What befalls each request is scripted; what is not lost is answered as such tools do: 409 while the first is at work,
and the first answer again when it is done.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter, deque
from collections.abc import Callable

from msgspec.structs import replace

from policies.model import Retry, Selector, ToolPolicy, UnknownRules, Upstream
from proxy.arrival import Arrival
from proxy.forward import Headers, Lost, NotSent, Outbound, Outcome, Replied
from proxy.keyed import with_key
from tests.proxy.gate import Gate
from tests.proxy.scripted import JSON
from tests.proxy.virtual import now
from tests.proxy.world import POLICY, Process, arrival

KEY = Selector("header", "Idempotency-Key")
WITHIN_MS = 100_000
RESENT = replace(
    POLICY, upstream=Upstream(idempotency=KEY, honours_key_ms=200_000),
    unknown=UnknownRules(then="resend", within_ms=WITHIN_MS),
    retry=Retry(attempts=1, backoff_base_ms=200, backoff_max_ms=2_000),
)  # fmt: skip
"""Sent again for 100 s; the tool remembers for 200."""


class Fate(enum.Enum):
    """What befalls one request."""

    FINE = "it is answered"
    LOST_ON_THE_WAY = "it never arrives, and the connection breaks"
    LOST_ON_THE_WAY_BACK = "the tool acts, and its answer is lost"
    SILENT = "the tool acts, and its answer never comes"
    BROKEN = "something on the way answers 502, and nothing has arrived"
    BROKEN_AFTER = "something on the way answers 502 after the tool has acted"
    REFUSED = "it cannot be reached"


class Honouring:
    """What the tool knows. `executions` is the truth; `at` holds when each request was sent."""

    def __init__(self) -> None:
        self.fates: deque[Fate] = deque()
        self.usual = Fate.FINE
        self.works_s = 0.05
        self.status = 201
        self.headers: Headers = JSON
        self.executions: Counter[str] = Counter()
        self.done: dict[str, bytes] = {}
        self.at: list[float] = []
        self.keys: list[str] = []

    def act(self, key: str) -> asyncio.Task[None] | None:
        """Begin to act on a key that is new; the caller's hang-up does not stop it."""
        if self.executions[key]:
            return None
        self.executions[key] += 1

        async def work() -> None:
            await asyncio.sleep(self.works_s)
            self.done[key] = b'{"id": "tkt_%d"}' % len(self.executions)

        return asyncio.get_running_loop().create_task(work())

    def reply(self, key: str) -> Replied:
        """Answer by key."""
        if key not in self.done:
            return Replied(409, b"", self.headers, b'{"error": "at work"}', "length")
        return Replied(self.status, b"", JSON, self.done[key], "length")


class HonouringForward:
    """One process's way to it."""

    def __init__(self, tool: Honouring, gate: Gate) -> None:
        self._tool = tool
        self._gate = gate
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """See `proxy.forward.Forward`."""
        tool = self._tool
        await self._gate.network("dial")
        fate = tool.fates.popleft() if tool.fates else tool.usual
        await asyncio.sleep(0.001)
        if fate is Fate.REFUSED:
            return NotSent("connect", "refused")
        if on_sent is not None:
            on_sent()
        await self._gate.network("send")
        key = dict(request.headers)[b"Idempotency-Key"].decode()
        tool.at.append(now())
        tool.keys.append(key)
        if fate is Fate.LOST_ON_THE_WAY:
            return Lost("reset")
        if fate is Fate.BROKEN:
            return Replied(502, b"", tool.headers, b"{}", "length")
        task = tool.act(key)
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if fate is Fate.SILENT:
            await asyncio.Event().wait()
        if task is not None:
            await asyncio.shield(task)
        await self._gate.network("receive")
        if fate is Fate.LOST_ON_THE_WAY_BACK:
            return Lost("reset")
        return Replied(502, b"", JSON, b"{}", "length") if fate is Fate.BROKEN_AFTER else tool.reply(key)


def honoured(process: Process, tool: Honouring) -> Process:
    """Let `process` send to `tool`."""
    process.works.forward = HonouringForward(tool, process.gate)
    return process


def resent(call: str = "call_1", policy: ToolPolicy = RESENT, **more: object) -> Arrival:
    """Return an attempt that brings the key, as the data port puts it in."""
    asked = arrival(call, policy=policy, **more)  # type: ignore[arg-type]
    assert isinstance(asked.request.body, bytes)
    headers, _ = with_key(KEY, asked.request.headers, asked.request.body, asked.ref.operation)
    return replace(asked, request=replace(asked.request, headers=headers))
