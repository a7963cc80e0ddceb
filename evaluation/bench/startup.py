"""How long Holdfast takes from nothing to ready, and how much memory it holds then."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from msgspec import Struct

from evaluation.bench.procfs import resident_bytes
from evaluation.bench.systems import REDIS, SQLITE, Cores, Stand, holdfast

STARTS = 3


class Start(Struct, frozen=True):
    """One cold start, on a store that is empty (SQLite) or shared with the bench (Redis)."""

    system: str
    seconds: float
    resident_bytes: int


async def cold_starts(session: aiohttp.ClientSession, directory: Path, cores: Cores, stand: Stand) -> list[Start]:
    """Start and end a proxy several times on each store that the stand has. Raises `ChildDied`."""
    names = {system.name for system in stand.systems}
    starts: list[Start] = []
    for number in range(STARTS):
        stores = {SQLITE: f"sqlite:///{directory / f'start-{number}.db'}", REDIS: stand.redis_url}
        for name, store in stores.items():
            if name in names and store is not None:
                label = f"start-{name}-{number}"
                async with holdfast(session, directory, cores.server, stand.tool, store, label) as proxy:
                    starts.append(Start(name, proxy.started_in_s, resident_bytes(proxy.process.pid)))
    return starts
