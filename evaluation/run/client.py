"""A user's client: it asks until a run is named, under the same `client_turn_id`, as long as that makes sense.

| answer | then |
|---|---|
| connection refused | the balancer asks the next instance; where all refuse, the client waits a little |
| 200, 201 | done |
| 409 `thread-busy` | the thread has a run: the client waits as long as it is told, a second, and asks again |
| 408, other 409, 429, 5xx; none at all | asked again after what `Retry-After` says, or a back-off |
| any other | refused for good |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp
import msgspec
from msgspec import Struct

from evaluation.run.balance import Balance

ANSWER_S = 30.0
"""How long a client waits for an answer; a turn is started in a fraction of that."""

BACK_OFF_S = (0.5, 1.0, 2.0)
BUSY_S = 1.0
AFTER_S_MAX = 5.0
PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})


class Asked(Struct):
    """How asking went so far. `run_id` is empty until a run is named, `accepted_at` is when it was (Unix seconds)."""

    run_id: str = ""
    thread_id: str = ""
    accepted_at: float | None = None
    instance: str = ""
    sends: int = 0
    busy: int = 0
    detail: str = ""


class _Started(Struct):
    thread_id: str
    run_id: str


class _Problem(Struct):
    type: str = ""
    detail: str = ""


class Client:
    """Asks through one balancer for each region. `now` returns Unix seconds."""

    def __init__(
        self, session: aiohttp.ClientSession, balances: Mapping[str, Balance], now: Callable[[], float]
    ) -> None:
        self._session = session
        self._balances = balances
        self._now = now

    async def ask(self, region: str, data: bytes, until: float, asked: Asked) -> None:
        """Ask for a turn until it has a run, is refused for good, or time is over; `asked` is kept up to date."""
        while self._now() < until:
            wait_s = await self.once(region, data, asked)
            if wait_s is None:
                return
            await asyncio.sleep(min(wait_s, max(0.0, until - self._now())))

    async def once(self, region: str, data: bytes, asked: Asked) -> float | None:
        """Ask once; return after how many seconds to ask again, None if that is of no use."""
        balance = self._balances[region]
        for _ in range(len(balance)):
            url = balance.pick(self._now())
            try:
                async with self._session.post(
                    f"{url}/v1/turns", data=data, headers={"Content-Type": "application/json"},
                    timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                ) as answer:  # fmt: skip
                    asked.sends += 1
                    return self._read(url, answer, await answer.read(), asked)
            except aiohttp.ClientConnectorError:
                balance.refused(url, self._now())
            except (aiohttp.ClientError, TimeoutError) as error:
                asked.sends += 1
                asked.detail = f"no answer: {type(error).__name__}"
                return _backed_off(asked)
        asked.detail = asked.detail or "no instance takes connections"
        return BACK_OFF_S[0]

    def _read(self, url: str, answer: aiohttp.ClientResponse, body: bytes, asked: Asked) -> float | None:
        if answer.status in {200, 201}:
            started = msgspec.json.decode(body, type=_Started)
            asked.run_id, asked.thread_id, asked.instance = started.run_id, started.thread_id, url
            asked.accepted_at = self._now()
            return None
        problem = _problem(body)
        slug = problem.type.rpartition(":")[2]
        asked.detail = f"{answer.status} {slug or problem.detail}".strip()[:200]
        if answer.status not in PASSING:
            return None
        after = answer.headers.get("Retry-After", "")
        if slug == "thread-busy":
            asked.busy += 1
            return float(after) if after.isdecimal() else BUSY_S
        return min(float(after), AFTER_S_MAX) if after.isdecimal() else _backed_off(asked)


def _backed_off(asked: Asked) -> float:
    return BACK_OFF_S[min(asked.sends, len(BACK_OFF_S)) - 1]


def _problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        return _Problem()
