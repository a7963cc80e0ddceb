"""A coordinator's store that is killed: `python -m tests.coordinator.sqlite_owner PATH PREFIX CLIENTS`.

Each client begins, owns and settles one run after the other, and has a result posted, delivered and done with; each
acknowledged step is told on stdout, as the place or the result and how far it is, before the next is asked for.
"""

from __future__ import annotations

import asyncio
import sys

from coordinator.store import Put, Written
from coordinator.stores.sqlite import SqliteRunStore
from tests.ledger.sqlite_owner import tell

LONG_MS = 3_600_000


async def client(store: SqliteRunStore, name: str) -> None:
    """Begin, own and settle until the process ends."""
    number = 0
    while True:
        run, turn, result = (f"{what}_{name}_{number}" for what in ("run", "turn", "result"))
        begun = Put(run, None, f"{run}:1", b"begun", label="begun", owner=name, then="keep", in_ms=LONG_MS)
        assert await store.swap(Put(turn, None, f"{turn}:1", b"turn", then="release"), begun) == Written()
        tell(run, "begun")
        assert await store.post(result, name.encode() * 300, 1_000_000)
        tell(result, "posted")
        await store.deliveries(name, 1, LONG_MS)
        done = Put(run, f"{run}:1", f"{run}:2", b"done", label="done", owner=name, then="release")
        assert await store.swap(done) == Written()
        tell(run, "done")
        if number % 2:
            await store.bury(result, "why", "")
            tell(result, "buried")
        else:
            await store.done([result])
            tell(result, "done")
        number += 1


async def main(path: str, prefix: str, clients: int) -> None:
    """Own the file at `path` and keep it busy."""
    store = SqliteRunStore(path, deadline_ms=20_000)
    await store.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    writing = [asyncio.ensure_future(client(store, f"{prefix}{index}")) for index in range(clients)]
    await asyncio.to_thread(sys.stdin.read)  # ends with the test's process, if that could not kill it
    for task in writing:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
