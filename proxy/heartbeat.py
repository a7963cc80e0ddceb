"""Noticing that the store has forgotten: a count in it that goes back (design 2.4).

Once a second each process counts one heartbeat in the store. A count below what was acknowledged means that the store
was flushed, restored or failed over, and with the counts it may have lost claims: a call that it knows nothing of may
be under way, or done. So write tools refuse, on every process, for as long as anything that was claimed before can
still be running, or until an operator says that the loss is accepted. Reads flow.

A beat that fails says nothing about memory: the store is away, and claims fail by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ledger.store import StoreUnavailable
from policies.model import MINUTE_MS
from proxy.works import Works

PERIOD_S = 1.0
"""Up to this much of what a process had written can be lost without a heartbeat among it."""

REFUSE_MS_MIN = 15 * MINUTE_MS
"""At least so long, whatever the policies say: who restores a store needs time to see what came back."""

NOT_ASKED = "the ledger has not been reached yet"
LOST = (
    "the ledger lost memory (it was flushed, restored or failed over), and what it forgot may be under way or done: "
    "look at the tools' own records, then run `holdfast ops accept-store-loss` (POST /v1/store/accept on the admin "
    "port); otherwise writes are refused for {left}"
)


class Heartbeat:
    """Beats for ever, and keeps `works.refusing`. `process` has never been used before; `longest_upstream_ms` is asked
    anew each time, since policies change."""

    def __init__(self, works: Works, process: str, longest_upstream_ms: Callable[[], int]) -> None:
        self._works = works
        self._process = process
        self._longest_upstream_ms = longest_upstream_ms
        self._acknowledged = 0
        self._refusing_ms = 0
        works.refusing = NOT_ASKED

    async def run(self) -> None:
        """Go on for ever, at the same pace however long an answer takes."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + PERIOD_S, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                await self.beat()
            except StoreUnavailable:
                continue  # counted where it happened; what was known of the store's memory stands

    async def beat(self) -> None:
        """Beat once, and do what the answer says. Raises `StoreUnavailable`."""
        refuse_ms = max(REFUSE_MS_MIN, self._longest_upstream_ms())
        told = await self._works.books.beat(self._process, self._acknowledged, refuse_ms)
        self._acknowledged = told.count
        self._heard(told.refusing_ms)

    def not_reached(self, why: str) -> None:
        """Tell callers why nothing has been heard of the store yet."""
        if not self._acknowledged:
            self._works.refusing = f"{NOT_ASKED}: {why}"

    async def accept(self) -> int:
        """End the refusal for every process; return how many milliseconds of it were left. Raises
        `StoreUnavailable`."""
        left_ms = self._refusing_ms
        await self._works.books.accept()
        self._heard(0)
        return left_ms

    def _heard(self, refusing_ms: int) -> None:
        before, self._refusing_ms = self._refusing_ms, refusing_ms
        works = self._works
        works.refusing = LOST.format(left=_shown(refusing_ms)) if refusing_ms else ""
        works.forgot = refusing_ms > 0
        if refusing_ms > before:  # a refusal only ever gets shorter: memory was lost, for the first time or again
            works.replays.clear()
            works.metrics.store_memory_lost.set(1)
            works.log.event(
                "store.memory-lost", level="error", store=works.books.store.name, detail=works.refusing,
                refusing_ms=refusing_ms,
            )  # fmt: skip
        elif before and not refusing_ms:
            works.metrics.store_memory_lost.set(0)
            works.log.event("store.memory-loss-over", level="warning", store=works.books.store.name)


def _shown(left_ms: int) -> str:
    seconds = -(-left_ms // 1_000)
    return f"{seconds} s more" if seconds < 120 else f"{seconds // 60} min more"
