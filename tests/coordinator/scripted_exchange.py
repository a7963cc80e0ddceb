"""The proxy or an API, as a script of answers behind the port of exchanges: for stories in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from multidict import CIMultiDict

from coordinator.exchange import Lost, NotSent, Replied


class Sent(Struct, frozen=True):
    """One request, and when it went out (loop time)."""

    at: float
    method: str
    url: str
    fields: Mapping[str, str]
    body: bytes | None

    @property
    def wait_s(self) -> int:
        """The patience that the proxy was told of."""
        return int(self.fields["Prefer"].removeprefix("wait="))


Answer = Replied | NotSent | Lost


class ScriptedExchange:
    """Gives its answers in order, the last of them for ever; each is an answer, or one with the seconds it takes."""

    def __init__(self, *answers: Answer | tuple[float, Answer]) -> None:
        self._answers = list(answers)
        self.sent: list[Sent] = []

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None, *, within_s: float,
        keep_bytes_max: int,
    ) -> Answer:  # fmt: skip
        """See `coordinator.exchange.Exchange`."""
        self.sent.append(Sent(asyncio.get_running_loop().time(), method, url, fields, body))
        next_one = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        takes_s, answer = next_one if isinstance(next_one, tuple) else (0.01, next_one)
        if takes_s >= within_s:
            await asyncio.sleep(within_s)
            return Lost(f"no answer within {within_s:.1f} s")
        await asyncio.sleep(takes_s)
        return answer

    async def close(self) -> None:
        """See `coordinator.exchange.Exchange`."""


def reply(status: int, body: Any = None, **fields: str) -> Replied:
    """Return an answer with JSON; underscores in names of fields stand for hyphens."""
    shown = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in fields.items()}
    return Replied(status, CIMultiDict(shown), json.dumps(body).encode())


def problem(slug: str, status: int, *, operation: str = "op_1", **members: Any) -> Replied:
    """Return a refusal of Holdfast's own; `retry_after` among the members becomes a field."""
    document = {"type": f"urn:holdfast:problem:{slug}", "detail": f"it is {slug}", "operation": operation}
    fields = {"Proxy_Status": "holdfast; error=x", "Holdfast_Operation": operation, "Holdfast_Outcome": "refused"}
    if (after := members.pop("retry_after", None)) is not None:
        fields["Retry_After"] = str(after)
    return reply(status, document | members, **fields)
