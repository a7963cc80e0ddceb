"""Keeping leases true: ours renewed while a forward is under way, everybody's lapsed ones found and said to be
unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ledger.records import CorruptRecord
from ledger.store import StoreUnavailable
from proxy.execution import Execution
from proxy.works import Works

BATCH = 100
"""Lapsed records taken up in one round: a sweep must not hold up the calls of its own process."""


class Leases:
    """Runs every third of a lease: renews, sweeps, and counts the unknown ones for the metrics."""

    def __init__(self, works: Works, lease_ms: int, chance: Callable[[], float]) -> None:
        self._works = works
        self._pause_s = lease_ms / 3_000
        self._chance = chance

    async def run(self) -> None:
        """Go on for ever. A store that is away is met again at the next round."""
        while True:
            # Up to a tenth sooner, so that a fleet that was started together does not sweep together.
            await asyncio.sleep(self._pause_s * (1 - 0.1 * self._chance()))
            try:
                await self.renew()
                await self.sweep()
                await self.count_unknown()
            except StoreUnavailable as error:
                self._works.log.event("leases.postponed", level="warning", detail=str(error))

    async def renew(self) -> None:
        """Extend the lease of every forward of this process, those that are listened to late included."""
        for execution in list(self._works.joints.values()):
            if execution.owned and execution.version and not execution.ended:
                await self._renew(execution)

    async def _renew(self, execution: Execution) -> None:
        ref, version = execution.arrival.ref, execution.version
        if await self._works.books.renew(ref, version) or execution.ended or execution.version != version:
            return
        standing = await self._works.books.read(ref)
        if standing is not None and standing.record.token == execution.token and execution.version == version:
            # Somebody noted something in its history, or it lapsed while this process stood still.
            execution.version = standing.version

    async def sweep(self) -> None:
        """Say of every lapsed record, of any process, that its outcome is unknown; overlapping sweeps do no harm."""
        works = self._works
        while refs := await works.books.due(BATCH):
            progress = False
            for ref in refs:
                try:
                    standing = await works.books.read(ref)
                except CorruptRecord as error:
                    works.log.event("record.corrupt", level="error", operation=ref.operation, detail=str(error))
                    continue
                if standing is not None and standing.lease_left_ms is not None and standing.lease_left_ms <= 0:
                    await works.lapse(ref, standing)
                    progress = True
            if len(refs) < BATCH or not progress:
                return

    async def count_unknown(self) -> None:
        """Set the store-wide gauges of unknown outcomes."""
        metrics = self._works.metrics
        totals: dict[str, int] = {}
        oldest_ms = 0
        for found in await self._works.books.unknowns():
            tool = found.scope.partition("/")[2]
            totals[tool] = totals.get(tool, 0) + found.count
            oldest_ms = max(oldest_ms, found.oldest_age_ms if found.count else 0)
        metrics.unknown_operations.clear()
        for tool, count in totals.items():
            metrics.unknown_operations.labels(tool).set(count)
        metrics.unknown_oldest_age.set(oldest_ms / 1_000)
