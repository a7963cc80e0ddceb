"""Bounds on the calls that one process has under way: slots for those that a run waits for, places for late truths."""

from __future__ import annotations

import asyncio

from coordinator.means import Means
from coordinator.tools import Ask, Told


async def asked(means: Means, ask: Ask, left_s: float) -> Told:
    """Ask the proxy for a call whose time is over in `left_s`, and return what became of it.

    It holds a slot for as long as a run waits for its result. From its deadline on the late truth is waited for without
    one, as far as there are places for that. A call that gets no slot in time is not asked for any more: its run has
    been told so. Cancelling it leaves the call to the proxy.
    """
    loop = asyncio.get_running_loop()
    deadline, asking = loop.time() + max(0.0, left_s), None
    try:
        async with means.slots:
            if loop.time() >= deadline:
                return Told("overdue", detail="too many calls were under way", tries=0)
            asking = loop.create_task(means.tools.call(ask, deadline + means.limits.late_ms / 1_000))
            await asyncio.wait([asking], timeout=deadline - loop.time())
        if asking.done():
            return asking.result()
        if means.late.locked():
            return Told("overdue", detail="too many calls are late")
        async with means.late:
            return await asking
    finally:
        if asking is not None:
            asking.cancel()
