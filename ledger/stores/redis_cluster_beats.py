"""Heartbeats in a cluster: each primary has a memory of its own, which may go back while the others' do not.

The port knows one count. What it is told is the highest; what was acknowledged by each primary is kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ledger.store import Beat, StoreUnavailable
from ledger.stores.redis_beats import Beats
from ledger.stores.redis_url import Place
from ledger.stores.redis_wire import Reply


class ClusterBeats:
    """Counts on every primary. `run` and `ask` find the node by the key."""

    def __init__(self, run: Callable[..., Awaitable[Reply]], ask: Callable[..., Awaitable[Any]]) -> None:
        self._run = run
        self._ask = ask
        self._by_tag: dict[bytes, Beats] = {}
        self._tags: dict[Place, bytes] = {}
        self._acknowledged: dict[tuple[bytes, str], int] = {}
        self._told: dict[str, int] = {}

    def at(self, primary: Place, tag: bytes) -> Beats:
        """Return the counts of `primary`, whose keys have `tag`: the same as those of its predecessor there."""
        self._tags[primary] = tag
        return self._by_tag.setdefault(tag, Beats(self._run, self._ask, tag))

    def only(self, primaries: Iterable[Place]) -> None:
        """Count on these alone."""
        self._tags = {place: tag for place, tag in self._tags.items() if place in primaries}

    async def beat(self, process: str, acknowledged: int, refuse_ms: int) -> Beat:
        """Count on all that answer; raises StoreUnavailable if none does. All are told what any of them is."""
        told = self._told.get(process, 0)
        tags = list(dict.fromkeys(self._tags.values()))
        asked = []
        for tag in tags:
            own = self._acknowledged.get((tag, process), 0)
            # More than was ever told to it here: then it was told so elsewhere, and each of them must know of as many.
            known = acknowledged if acknowledged > told else min(own, acknowledged)
            asked.append(self._by_tag[tag].beat(process, known, refuse_ms))
        beats = await _answered(asked)
        for tag, beat in zip(tags, beats, strict=True):
            if isinstance(beat, Beat):
                self._acknowledged[tag, process] = beat.count
        counted = [beat for beat in beats if isinstance(beat, Beat)]
        self._told[process] = max(beat.count for beat in counted)
        return Beat(self._told[process], max(beat.refusing_ms for beat in counted))

    async def accept(self) -> None:
        """End the refusal on every primary. Raises StoreUnavailable if one does not answer: it may still refuse."""
        await asyncio.gather(*(self._by_tag[tag].accept() for tag in dict.fromkeys(self._tags.values())))


async def _answered(asked: list[Any]) -> list[Beat | StoreUnavailable]:
    answers: list[Beat | StoreUnavailable] = []
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(answer, BaseException) and not isinstance(answer, StoreUnavailable):
            raise answer
        answers.append(answer)
    if not any(isinstance(answer, Beat) for answer in answers):
        failure = next((answer for answer in answers if isinstance(answer, StoreUnavailable)), None)
        raise failure or StoreUnavailable("redis: the store is not started")
    return answers
