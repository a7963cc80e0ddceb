"""What the SQLite tests share: a disk that stalls, a process that owns the file, a look at what is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ledger.store import Present, StoreUnavailable, UnfitStore, Written
from ledger.stores.clock import Clock
from ledger.stores.sqlite import SqliteStore
from tests.ledger.store_bench import SteppedClock, a_ref, a_write, put

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def opened(
    folder: Path, *, deadline_ms: int = 20_000, bytes_max: int | None = None, clock: Clock | None = None
) -> AsyncIterator[SqliteStore]:
    """Yield a store on the folder's ledger, started."""
    store = SqliteStore(str(folder / "ledger.db"), deadline_ms=deadline_ms, bytes_max=bytes_max, clock=clock)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


class StallingClock(SteppedClock):
    """A clock that can hold up who asks it: the writer's thread, as a disk that hangs would."""

    def __init__(self) -> None:
        super().__init__()
        self.going = threading.Event()
        self.going.set()
        self.held = threading.Event()

    def __call__(self) -> int:
        """Return the time, once it goes on."""
        if not self.going.is_set():
            self.held.set()
            assert self.going.wait(30), "the test never let the clock go on"
        return super().__call__()


async def stall(store: SqliteStore, clock: StallingClock) -> asyncio.Future[Present | None]:
    """Hold the writer up in a read; return when it hangs there."""
    clock.held.clear()
    clock.going.clear()
    reading = asyncio.ensure_future(store.read(a_ref("op_stalled")))
    async with asyncio.timeout(20):
        await asyncio.to_thread(clock.held.wait)
    return reading


async def is_back(store: SqliteStore, record: bytes = b"record") -> bool:
    """Say whether a write succeeds now."""
    with contextlib.suppress(StoreUnavailable):
        standing = await store.read(a_ref("op_back"))
        version = standing.version if standing else None
        return await store.swap(a_ref("op_back"), version, a_write(record=record)) == Written()
    return False


def on_disk(folder: Path, where: str) -> int:
    """Count places in the file of a closed store."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.db")) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM places WHERE {where}").fetchone()[0]
        return count


class Owner:
    """Another process that owns the ledger at `path`, with `clients` writing as fast as they can."""

    def __init__(self, path: Path, prefix: str, clients: int, module: str) -> None:
        command = [sys.executable, "-m", module, str(path), prefix, str(clients)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._lines = self._process.stdout
        assert self._lines.readline() == "ready\n"

    def acknowledged(self, count: int) -> dict[str, str]:
        """Return the newest acknowledged version by operation, once there were `count` acknowledgements."""
        return dict(self._lines.readline().split() for _ in range(count))

    def kill(self) -> dict[str, str]:
        """End it with kill -9; return what it had acknowledged, unread, until then."""
        if self._process.returncode is not None:
            return {}
        self._process.send_signal(signal.SIGKILL)
        rest = [line.split() for line in self._lines if line.endswith("\n")]
        self._process.wait()
        self._lines.close()
        self._stdin.close()
        return dict(rest)


@contextlib.contextmanager
def owned_by_another(
    path: Path, prefix: str = "op", clients: int = 0, module: str = "tests.ledger.sqlite_owner"
) -> Iterator[Owner]:
    """Have another process, which runs `module`, own the file at `path`, until it is killed, here or by the test."""
    owner = Owner(path, prefix, clients, module)
    try:
        yield owner
    finally:
        owner.kill()


async def start_fails(path: Path) -> str:
    """Return why a start on `path` is unfit, in words that name the file."""
    with pytest.raises(UnfitStore) as failure:
        await SqliteStore(str(path)).start()
    assert str(path) in str(failure.value)
    return str(failure.value)


async def make(path: Path, places: int = 1) -> None:
    """Leave a ledger of some completed calls, closed."""
    store = SqliteStore(str(path), deadline_ms=20_000)
    await store.start()
    for index in range(places):
        await put(store, a_ref(f"op_{index}"), a_write("completed", record=b"x" * 400))
    await store.close()
