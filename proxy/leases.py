"""Keeping leases true: ours renewed while a forward is under way, everybody's lapsed ones found and said to be
unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ledger.key import Ref
from ledger.records import CorruptRecord, Unknown
from ledger.store import StoreUnavailable
from proxy.execution import Execution
from proxy.works import Works

BATCH = 100
"""Lapsed records asked for at a time."""

STUCK_MAX = 1_000
"""Lapsed records that a sweep cannot take up and looks past, because a newer version wrote them or they were
spoiled."""


class Leases:
    """Every third of a lease: renews, and beside that sweeps and counts the unknown ones for the metrics. A sweep may
    take long, where a process with many calls has died; it must not cost this process its own leases."""

    def __init__(self, works: Works, lease_ms: int, chance: Callable[[], float]) -> None:
        self._works = works
        self._pause_s = lease_ms / 3_000
        self._chance = chance

    async def run(self) -> None:
        """Go on for ever. A store that is away is met again at the next round."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._each_round(self.renew))
            group.create_task(self._each_round(self._look_around))

    async def _each_round(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            # Up to a tenth sooner, so that a fleet that was started together does not sweep together.
            await asyncio.sleep(self._pause_s * (1 - 0.1 * self._chance()))
            try:
                await work()
            except StoreUnavailable as error:
                self._works.log.event("leases.postponed", level="warning", detail=str(error))

    async def _look_around(self) -> None:
        await self.sweep()
        await self.count_unknown()

    async def renew(self) -> None:
        """Extend the lease of every forward of this process, those that are listened to late included.

        All at once: with a slow store, one after the other would take longer than a lease. Raises `StoreUnavailable`.
        """
        ours = [
            one for one in self._works.joints.values() if isinstance(one, Execution) and one.leased and not one.ended
        ]
        for failure in await asyncio.gather(*map(self._renew, ours), return_exceptions=True):
            if failure is not None:
                raise failure

    async def _renew(self, execution: Execution) -> None:
        ref, version, works = execution.arrival.ref, execution.leased, self._works
        if await works.books.renew(ref, version) or execution.ended or execution.leased != version:
            return
        try:
            standing = await works.books.read(ref)
        except CorruptRecord as error:
            works.corrupt("record.corrupt", ref, error)
            return
        if standing is None or standing.record.token != execution.token or execution.leased != version:
            return
        if isinstance(standing.record, Unknown) and not standing.record.listening:
            await works.resume(execution, standing)
        elif standing.lease_left_ms is not None:
            execution.leased = standing.version  # somebody noted something in its history

    async def sweep(self) -> None:
        """Say of every lapsed record, of any process, that its outcome is unknown; overlapping sweeps do no harm."""
        stuck: set[Ref] = set()
        while len(stuck) <= STUCK_MAX:
            found = await self._works.books.due(BATCH + len(stuck))
            fresh = [ref for ref in found if ref not in stuck]
            for ref in fresh:
                if not await self._take_up(ref):
                    stuck.add(ref)
            if len(fresh) < BATCH:
                return

    async def _take_up(self, ref: Ref) -> bool:
        """Say of a record that is due that it lapsed; say whether it is due no more."""
        works = self._works
        try:
            standing = await works.books.read(ref)
            if standing is None or (standing.lease_left_ms or 0) > 0:
                return False
            if isinstance(standing.record, Unknown) and standing.record.probing and not standing.record.listening:
                works.prober.take_up(ref)
                return False  # due until the probe has begun
            return await works.lapse(ref, standing)
        except CorruptRecord as error:
            works.corrupt("record.corrupt", ref, error)
            return False

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
