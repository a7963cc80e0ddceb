"""The worker pool: tool calls over HTTP, so many at a time, each tried again after a time-out, as the seed has it."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from urllib.parse import quote

import msgspec
from msgspec import Struct

from evaluation.variants.agents import Call, Seen
from evaluation.variants.answers import Ended, bad_arguments, ended
from evaluation.variants.exchange import Exchange, NotSent
from evaluation.variants.metrics import Metrics

RECONNECT_S = 0.5


class Patience(Struct, frozen=True):
    """How long a worker waits, and how often it tries. Times are in seconds.

    limit_s     for one attempt: the incident's.
    retries     after the first try: the seed's.
    base_s      the pause before the first retry, doubled for each further one, and cut by chance to half at the least.
    """

    limit_s: float = 10.0
    retries: int = 2
    base_s: float = 0.5


USUAL = Patience()


class Workers:
    """Calls tools at `URL/tools/NAME`. `workers` attempts are under way at a time; more wait."""

    def __init__(
        self, tools: str, exchange: Exchange, metrics: Metrics, *, workers: int, patience: Patience = USUAL,
        chance: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._base = tools.rstrip("/")
        self._exchange = exchange
        self._metrics = metrics
        self._slots = asyncio.Semaphore(workers)
        self._patience = patience
        self._chance = chance

    async def call(self, run: Seen, call: Call) -> str:
        """Return the output of a call: what the tool said, or an error once all tries are used up."""
        if (why := _unfit(call.arguments)) is not None:
            return bad_arguments(call.id, why)
        patience = self._patience
        told = await self._attempt(run, call)
        for number in range(patience.retries):
            if not told.again:
                break
            pause_s = patience.base_s * 2**number * (0.5 + 0.5 * self._chance())
            await asyncio.sleep(max(told.after_s, pause_s))
            told = await self._attempt(run, call)
        self._metrics.calls.labels(told.outcome).inc()
        return told.output

    async def close(self) -> None:
        """Let go of every connection."""
        await self._exchange.close()

    async def _attempt(self, run: Seen, call: Call) -> Ended:
        """Try once, under the ids of the call and a request id of its own. To connect is part of it: as long as nobody
        listens nothing was sent, and whoever is being restarted is waited for within the attempt's time."""
        fields = {
            "Content-Type": "application/json", "X-Request-Id": f"req_{uuid.uuid4().hex}", "X-Run-Id": run.run_id,
            "X-Thread-Id": run.thread_id, "X-Tool-Call-Id": call.id, "X-Tenant-Id": run.marks.get("tenant", ""),
            "X-User-Id": run.marks.get("user", ""),
        }  # fmt: skip
        async with self._slots:
            self._metrics.attempts.inc()
            loop = asyncio.get_running_loop()
            until = loop.time() + self._patience.limit_s
            while True:
                told = await self._exchange.send(
                    "POST", f"{self._base}/tools/{quote(call.tool, safe='')}",
                    {name: value for name, value in fields.items() if value}, call.arguments.encode(),
                    within_s=until - loop.time(),
                )  # fmt: skip
                if not isinstance(told, NotSent) or loop.time() + RECONNECT_S >= until:
                    return ended(told)
                await asyncio.sleep(RECONNECT_S)


def _unfit(arguments: str) -> str | None:
    """Return what is wrong with arguments that are no JSON object; models write those, too."""
    try:
        msgspec.json.decode(arguments.encode(), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        return f"the arguments are no JSON object: {error}"
    return None
