"""What a restart costs: how long Holdfast takes to become ready, what memory it holds then, and replays from its store.

The proxies here are processes of their own, on SQLite files of their own or on the stand's Redis server.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiohttp
from msgspec.structs import replace

from evaluation.bench.figures import Start
from evaluation.bench.measure import Bench
from evaluation.bench.systems import REDIS, SQLITE, Stand, System, guarded
from evaluation.procfs import resident_bytes
from evaluation.sidecar import Sidecar


class Restarts:
    """Starts a proxy, has calls made through it, ends it, and starts another one in its place."""

    def __init__(self, session: aiohttp.ClientSession, directory: Path, stand: Stand, bench: Bench, keys: int) -> None:
        self._session = session
        self._directory = directory
        self._stand = stand
        self._bench = bench
        self._keys = keys
        self.starts: list[Start] = []

    async def run(self, number: int, say: Callable[[str], None]) -> None:
        """Do so once on each store of the stand, in round `number`.

        Raises `ChildDied`, `WrongAnswer`, `TimeoutError`.
        """
        stores = {SQLITE: f"sqlite:///{self._directory / f'restart-{number}.db'}", REDIS: self._stand.redis_url}
        for standing in self._stand.systems:
            if store := stores.get(standing.name):
                say(f"round {number + 1}: restart, {standing.name}")
                await self._restart(standing, store, number)

    async def _restart(self, standing: System, store: str, number: int) -> None:
        name, label = standing.name, f"restart-{standing.name}-{number}"
        stand = self._stand
        start = (self._session, self._directory, stand.cores.server, stand.tool, stand.policies, store)
        async with guarded(*start, f"{label}-a") as (system, proxy):
            self._note(name, proxy)
            requests = await self._bench.execute(system, self._keys)
        async with guarded(*start, f"{label}-b") as (system, proxy):
            self._note(name, proxy)
            named = replace(system, name=name, store_pids=standing.store_pids)
            await self._bench.replay_restarted(named, requests, number)

    def _note(self, name: str, proxy: Sidecar) -> None:
        self.starts.append(Start(name, proxy.started_in_s, resident_bytes(proxy.process.pid)))
