"""What the instances of one region share, in Redis: submission attempts, notifications that came, turns that began.

An attempt to hand in a step's outputs is written down before it is made. That is where the seed's design removes
duplicates: at submission, when the tools have acted.

| a step's record   | means                                          | for               |
|-------------------|------------------------------------------------|-------------------|
| absent            | nobody hands in                                |                   |
| `attempt OWNER`   | OWNER is at it; when that lapses, somebody may | `attempt_s`       |
| `submitted`       | the API has taken outputs for it               | `KEEP_S`          |
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable
from typing import Any, Literal, Protocol, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from evaluation.variants.turns import NotStarted, Remembered, Started

KEEP_S = 15 * 60
"""The seed's 15 minutes."""
PENDING_S = 10
"""A turn whose process died half way may be begun by another after this; to begin one takes a tenth of a second."""
OTHERS_S = 5.0
LOOK_S = 0.1
CONNECTIONS_MAX = 16
DEADLINE_S = 1.0

BEGIN = """
local stands = redis.call('GET', KEYS[1])
if not stands or stands == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
return stands
"""
END = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

Attempt = Literal["ours", "other", "submitted"]
Step = tuple[str, tuple[str, ...]]
"""A run, and the ids of the calls that it asks for."""


class SharedAway(Exception):
    """Redis does not answer."""


class Shared(Remembered, Protocol):
    """What an instance asks of the records; beside turns. All raise `SharedAway` where they do not say otherwise."""

    async def begin_attempt(self, step: Step) -> Attempt:
        """Write down that we hand in a step's outputs, unless somebody else does or has."""

    async def submitted(self, step: Step) -> None:
        """Write down that the API has taken outputs for a step."""

    async def give_up_attempt(self, step: Step) -> None:
        """Let somebody else hand in."""

    async def reopen(self, step: Step) -> None:
        """A step that stands as submitted still waits: let somebody hand in."""

    async def is_news(self, notice: str) -> bool:
        """Say whether a notification comes for the first time."""

    async def answers(self) -> bool:
        """Say whether the records can be reached. Never raises."""


class RedisShared:
    """The records at `url`. `owner` is this process's name, and no other's, ever; an attempt lapses after
    `attempt_s`."""

    def __init__(self, url: str, owner: str, *, attempt_s: float) -> None:
        pool = BlockingConnectionPool.from_url(
            url, max_connections=CONNECTIONS_MAX, timeout=DEADLINE_S, socket_timeout=DEADLINE_S,
            socket_connect_timeout=DEADLINE_S, retry=Retry(NoBackoff(), 0), decode_responses=True,
        )  # fmt: skip
        self._redis: Redis = Redis(connection_pool=pool)
        self._owner = owner
        self._attempt_ms = round(attempt_s * 1_000)

    # -- submissions ---------------------------------------------------------------------------------------------

    async def begin_attempt(self, step: Step) -> Attempt:
        """See `Shared`."""
        ours = f"attempt {self._owner}"
        stands = await self._told(self._redis.eval(BEGIN, 1, _step(step), ours, str(self._attempt_ms)))
        return "ours" if stands == ours else "submitted" if stands == "submitted" else "other"

    async def submitted(self, step: Step) -> None:
        """See `Shared`."""
        await self._told(self._redis.set(_step(step), "submitted", ex=KEEP_S))

    async def give_up_attempt(self, step: Step) -> None:
        """See `Shared`."""
        await self._told(self._redis.eval(END, 1, _step(step), f"attempt {self._owner}"))

    async def reopen(self, step: Step) -> None:
        """See `Shared`."""
        await self._told(self._redis.eval(END, 1, _step(step), "submitted"))

    # -- notifications -------------------------------------------------------------------------------------------

    async def is_news(self, notice: str) -> bool:
        """See `Shared`."""
        return bool(await self._told(self._redis.set(f"notice:{notice}", "1", nx=True, ex=KEEP_S)))

    # -- turns ---------------------------------------------------------------------------------------------------

    async def begin(self, name: str) -> Started | NotStarted | None:
        """See `evaluation.variants.turns.Remembered`."""
        deadline = asyncio.get_running_loop().time() + OTHERS_S
        try:
            while True:
                if await self._told(self._redis.set(f"turn:{name}", "pending", nx=True, ex=PENDING_S)):
                    return None
                stands = await self._told(self._redis.get(f"turn:{name}"))
                if stands not in {None, "pending"}:
                    return Started(*stands.split())
                if asyncio.get_running_loop().time() > deadline:
                    return NotStarted("turn-pending", "another instance is starting this turn")
                await asyncio.sleep(LOOK_S)
        except SharedAway as error:
            return NotStarted("store-unavailable", str(error))

    async def began(self, name: str, started: Started) -> None:
        """See `evaluation.variants.turns.Remembered`. While Redis is away the turn stays pending, until that lapses."""
        try:
            await self._told(self._redis.set(f"turn:{name}", f"{started.thread_id} {started.run_id}", ex=KEEP_S))
        except SharedAway:
            return

    async def gave_up(self, name: str) -> None:
        """See `evaluation.variants.turns.Remembered`."""
        try:
            await self._told(self._redis.delete(f"turn:{name}"))
        except SharedAway:
            return

    # -- the rest ------------------------------------------------------------------------------------------------

    async def answers(self) -> bool:
        """See `Shared`."""
        try:
            return bool(await self._told(self._redis.ping()))
        except SharedAway:
            return False

    async def close(self) -> None:
        """Let go of every connection."""
        await self._redis.aclose(close_connection_pool=True)

    async def _told(self, command: Any) -> Any:
        try:
            return await cast("Awaitable[Any]", command)
        except (RedisError, OSError, TimeoutError) as error:
            raise SharedAway(f"Redis does not answer: {error}") from error


def _step(step: Step) -> str:
    run_id, calls = step
    return f"step:{run_id}:{hashlib.sha256(' '.join(calls).encode()).hexdigest()[:16]}"
