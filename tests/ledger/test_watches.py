"""Watching inside one process: bounded, and no listener can harm the store."""

from __future__ import annotations

import asyncio

from ledger.stores.watches import Watches


async def turn() -> None:
    """Let what is scheduled on the loop run."""
    await asyncio.sleep(0)


async def test_only_watched_operations_are_told_of() -> None:
    """What nobody watches costs no call."""
    told: list[str] = []
    watches = Watches()
    watches.listen(told.append)
    watches.add("op_1")
    watches.tell(asyncio.get_running_loop(), ["op_2", "op_1", "op_3"])
    assert told == [], "never inside the store's own work"
    await turn()
    assert told == ["op_1"]


async def test_watch_outlasts_what_it_told_of() -> None:
    """An earlier swap's wake-up does not use up the watch for the next one."""
    told: list[str] = []
    watches = Watches()
    watches.listen(told.append)
    watches.add("op_1")
    for _ in range(2):
        watches.tell(asyncio.get_running_loop(), ["op_1"])
        await turn()
    assert told == ["op_1", "op_1"]


async def test_watches_are_bounded_and_the_oldest_goes() -> None:
    """Watching again makes a watch young; beyond the bound the one asked for longest ago is dropped."""
    told: list[str] = []
    watches = Watches(watched_max=2)
    watches.listen(told.append)
    for operation in ("op_1", "op_2", "op_1", "op_3"):
        watches.add(operation)
    watches.tell(asyncio.get_running_loop(), ["op_1", "op_2", "op_3"])
    await turn()
    assert told == ["op_1", "op_3"]


async def test_listener_that_raises_harms_nobody_else() -> None:
    """Each wake-up is a call of its own on the loop."""
    told: list[str] = []
    failures: list[dict[str, object]] = []

    def listener(operation: str) -> None:
        if operation == "op_bad":
            raise ZeroDivisionError
        told.append(operation)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: failures.append(context))
    watches = Watches()
    watches.listen(listener)
    for operation in ("op_bad", "op_good"):
        watches.add(operation)
    watches.tell(loop, ["op_bad", "op_good"])
    await turn()
    assert told == ["op_good"]
    assert len(failures) == 1


async def test_nobody_listening_is_fine() -> None:
    """Watches without a listener are kept for the one that comes."""
    watches = Watches()
    watches.add("op_1")
    watches.tell(asyncio.get_running_loop(), ["op_1"])
    told: list[str] = []
    watches.listen(told.append)
    watches.tell(asyncio.get_running_loop(), ["op_1"])
    await turn()
    assert told == ["op_1"]
