"""A process that owns a ledger and is killed: `python -m tests.ledger.sqlite_owner PATH PREFIX CLIENTS`.

Each client claims and settles one operation after the other; each acknowledged write is told on stdout, as the
operation and the version that stands, before the next is asked for.
"""

from __future__ import annotations

import asyncio
import sys

from ledger.key import Ref
from ledger.store import Write, Written
from ledger.stores.sqlite import SqliteStore


async def client(store: SqliteStore, name: str) -> None:
    """Claim and settle until the process ends."""
    number = 0
    while True:
        ref = Ref("acme/create_ticket", f"{name}_{number}")
        claim, done = f"{name}_{number}_claim", f"{name}_{number}_done"
        assert await store.swap(ref, None, Write(claim, b"claim", "in_flight", lease_ms=3_600_000)) == Written()
        tell(ref.operation, claim)
        settle = Write(done, b"done", "completed", result=name.encode() * 300, result_ms=3_600_000)
        assert await store.swap(ref, claim, settle) == Written()
        tell(ref.operation, done)
        number += 1


def tell(operation: str, version: str) -> None:
    """Acknowledge, past every buffer that dies with the process."""
    sys.stdout.write(f"{operation} {version}\n")
    sys.stdout.flush()


async def main(path: str, prefix: str, clients: int) -> None:
    """Own the ledger at `path` and keep it busy."""
    store = SqliteStore(path, deadline_ms=20_000)
    await store.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    writing = [asyncio.ensure_future(client(store, f"{prefix}{index}")) for index in range(clients)]
    await asyncio.to_thread(sys.stdin.read)  # ends with the test's process, if that could not kill it
    for task in writing:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
