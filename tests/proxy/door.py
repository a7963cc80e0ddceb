"""The data port in the test's own event loop, over the memory store: for limits and constants that a test must turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from ledger.stores.memory import MemoryStore
from policies.loader import load_folder
from process.tracing import Tracing
from proxy.app import ids
from proxy.books import Books
from proxy.data_port import DataPort
from proxy.guard import Guard
from proxy.inbound.server import Server
from proxy.log import Log
from proxy.metrics import Metrics
from proxy.origins import parse_origin
from proxy.upstream.pool import Upstream
from proxy.works import Works


@dataclass
class Door:
    """A data port and what is behind it."""

    port: int
    works: Works
    metrics: Metrics
    log: Log

    def counted(self, name: str, **labels: str) -> float:
        """Return a metric's sample, 0 if there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a caller's connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def door(
    policies: Path, upstream: str, *, tracing: Tracing | None = None, kept: MemoryStore | None = None
) -> AsyncIterator[Door]:
    """Open a data port on a port of its own; over the store of another one, if that is `kept`."""
    loop = asyncio.get_running_loop()
    store, metrics, forward = kept or MemoryStore(), Metrics(), Upstream()
    await store.start()
    sink = os.open(os.devnull, os.O_WRONLY)
    log = Log(sink)
    works = Works(Books(store, metrics, ids(), 3_000), forward, metrics, log)
    loaded = load_folder(policies).policies
    port = DataPort(works, Guard(works), lambda: loaded, parse_origin(upstream), tracing)
    server = Server(port.serve, log, port.refused)
    listener = await loop.create_server(server, "127.0.0.1", 0)
    try:
        yield Door(listener.sockets[0].getsockname()[1], works, metrics, log)
    finally:
        listener.close()
        await server.shutdown(1)
        await forward.close()
        await store.close()
        os.close(sink)
