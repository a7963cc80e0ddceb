"""Tool calls through the proxy: asked for under the same ids until there is something definite to say (design 3).

The proxy's ledger is what makes asking again safe, so this file is about patience only: how often, how soon, how long.
What the answers mean is `coordinator.replies`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import assert_never
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from coordinator.exchange import Exchange, Lost, NotSent, Replied
from coordinator.outputs import OUTPUT_BYTES_MAX, too_large, tool_output
from coordinator.replies import Attach, Broken, Definite, Meaning, NotYet, Retry, meaning
from coordinator.tools import Ask, Told

RETRIES_MAX = 2
"""After the first try, of what was refused for now (design, section 3)."""

NOT_YET_S = 15.0
"""For so long, from the first of several refusals in a row, what Holdfast refuses for now is asked for again: by then a
sidecar has restarted, or a Redis failed over. See decision 0043."""

RETRY_AFTER_S_MAX = 30.0
"""A longer wish is not waited for: by then the run had better be told."""

MARGIN_S = 0.5
"""Between the end of the patience that the proxy is told of and ours: its answer takes time to come."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
"""A tool's name, as APIs allow it; nothing that would be another path."""

_FIELD = re.compile(r"[!-~]{1,255}")
"""What the proxy takes as an id."""


class Pace(Struct, frozen=True):
    """How soon one asks again. Pauses double from `base_s` to `max_s`, each shortened by chance to half at the least.

    soon_s  after an answer that was held for `held_s` or longer: somebody waited there already, and a result that
            comes meanwhile is waited for by the model. Answers that come at once are paused for like failures.
    """

    base_s: float = 0.2
    max_s: float = 2.0
    soon_s: float = 0.05
    held_s: float = 1.0


USUAL = Pace()


class Executor:
    """The `Tools` port over HTTP. `proxy` is the proxy's URL; `chance` returns a number from 0 to 1. Reads leave no
    trace in the ledger, so a connection that breaks is tried again for them like any refusal, and a proxy that is away
    is waited for no longer than one that refuses for now."""

    def __init__(self, proxy: str, exchange: Exchange, chance: Callable[[], float], *, pace: Pace = USUAL) -> None:
        """Raises `ValueError` for a URL that is not http(s)://host[:port][/path]."""
        parts = urlsplit(proxy)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{proxy!r} is not http(s)://host[:port]")
        self._base = proxy.rstrip("/")
        self._exchange = exchange
        self._chance = chance
        self._pace = pace

    async def call(self, ask: Ask, until: float) -> Told:
        """See `coordinator.tools.Tools`."""
        try:
            asking = _Asking(f"{self._base}/tools/{_path_of(ask)}", _fields_of(ask), _body_of(ask))
        except ValueError as error:
            return Told("refused", detail=str(error), problem="bad-request", tries=0)
        loop = asyncio.get_running_loop()
        told, tries, retries, quick = Told("overdue", detail="there was no time to ask", tries=0), 0, 0, 0
        refused_since = 0.0
        while (left_s := until - loop.time()) > 0:
            began = loop.time()
            tries += 1
            meant = await self._try(asking, left_s, write=ask.write)
            told = replace(meant.told, tries=tries, operation=meant.told.operation or told.operation)
            quick = quick + 1 if loop.time() - began < self._pace.held_s else 0
            refused_since = (refused_since or loop.time()) if isinstance(meant, NotYet) else 0.0
            match meant:
                case Definite():
                    return told
                case Retry(after_s=after_s):
                    retries += 1
                    if retries > RETRIES_MAX or (after_s or 0.0) > RETRY_AFTER_S_MAX:
                        return told
                    pause_s = max(after_s or 0.0, self._pause_s(retries))
                    if loop.time() + pause_s >= until:
                        return told
                case NotYet(after_s=after_s):
                    pause_s = max(after_s or 0.0, self._pause_s(quick))
                    if loop.time() + pause_s >= min(until, refused_since + NOT_YET_S):
                        return told
                case Broken():
                    retries += 1
                    if retries > RETRIES_MAX and not ask.write:
                        return replace(told, verdict="unreached")
                    pause_s = self._pause_s(quick)
                case Attach():
                    pause_s = self._pause_s(quick) if quick else self._pace.soon_s
                case _ as never:
                    assert_never(never)
            await asyncio.sleep(max(0.0, min(pause_s, until - loop.time())))
        return replace(told, verdict="overdue", output="")

    async def close(self) -> None:
        """See `coordinator.tools.Tools`."""
        await self._exchange.close()

    async def _try(self, asking: _Asking, left_s: float, *, write: bool) -> Meaning:
        """Ask once, and say what that means. A proxy that is away may have executed an earlier try of a write."""
        patience = {"Prefer": f"wait={max(0, int(left_s - MARGIN_S))}"}
        answer = await self._exchange.send(
            "POST", asking.url, asking.fields | patience, asking.body, within_s=left_s, keep_bytes_max=OUTPUT_BYTES_MAX
        )
        match answer:
            case Replied():
                return _meant(answer)
            case NotSent():
                detail = f"the proxy cannot be reached: {answer.why}"
                return Broken(Told("overdue", detail=detail)) if write else NotYet(Told("unreached", detail=detail))
            case Lost():
                return Broken(Told("overdue", detail=f"the proxy's answer was lost: {answer.why}"))
            case _ as never:
                assert_never(never)

    def _pause_s(self, number: int) -> float:
        """Return the pause before the next try, after `number` (from 1) that did not help."""
        longest = min(self._pace.max_s, self._pace.base_s * float(1 << min(max(0, number - 1), 16)))
        return longest * (0.5 + 0.5 * self._chance())


class _Asking(Struct, frozen=True):
    """A call as it goes over the wire, the same each time."""

    url: str
    fields: dict[str, str]
    body: bytes


def _meant(answer: Replied) -> Meaning:
    """Return what a whole answer means; of one that is too large to be handed in, its size and digest are."""

    def get(name: str) -> str:
        return answer.fields.get(name, "")

    def output() -> str:
        if answer.kept:
            return tool_output(answer.status, get("Content-Type"), answer.body)
        return too_large(answer.status, answer.body_bytes, answer.sha256, whole=answer.whole)

    return meaning(answer.status, get, answer.body, output)


def _path_of(ask: Ask) -> str:
    if _NAME.fullmatch(ask.tool) is None:
        raise ValueError(f"{ask.tool[:100]!r} is no name of a tool")
    return quote(ask.tool, safe="")


def _fields_of(ask: Ask) -> dict[str, str]:
    """Return the header fields of a call: those of its ids that are set. Raises `ValueError`."""
    ids = {
        "X-Run-Id": ask.run_id, "X-Tool-Call-Id": ask.tool_call_id, "X-Thread-Id": ask.thread_id,
        "X-Step-Id": ask.step_id, "X-User-Id": ask.user, "X-Tenant-Id": ask.tenant, "traceparent": ask.traceparent,
    }  # fmt: skip
    for name, value in ids.items():
        if value and _FIELD.fullmatch(value) is None:
            raise ValueError(f"{value[:100]!r} cannot be sent as {name}")
    return {"Content-Type": "application/json"} | {name: value for name, value in ids.items() if value}


def _body_of(ask: Ask) -> bytes:
    """Return the arguments as they were written. Raises `ValueError` if they are no JSON; models write that, too."""
    if not ask.arguments.strip():
        return b"{}"
    try:
        body = ask.arguments.encode()
        msgspec.json.decode(body, type=Raw)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ValueError(f"the arguments are not JSON: {error}") from None
    return body
