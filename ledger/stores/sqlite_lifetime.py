"""A file's time: opened within bounds, and closed with what was asked for before written first."""

from __future__ import annotations

import asyncio
import logging

from ledger.store import StoreUnavailable
from ledger.stores.sqlite_calls import Calls
from ledger.stores.sqlite_writer import Writer

log = logging.getLogger(__name__)

START_S = 30.0
"""Opening may have to recover a log and check a file: longer than a call may take, and bounded all the same."""

CLOSE_S = 10.0
"""Folding the log in; past this the disk hangs, and the log is recovered at the next start."""


async def opened(writer: Writer, calls: Calls, what: str) -> None:
    """Have `calls` served by `writer` from the file that it is for. `what` names that. Raises `UnfitStore`, and
    `StoreUnavailable` where it takes too long."""
    try:
        async with asyncio.timeout(START_S):
            await writer.open(calls.deliver)
    except TimeoutError:
        raise StoreUnavailable(f"{what} did not open within {START_S:.0f} s") from None


async def closed(writer: Writer, calls: Calls, what: str) -> None:
    """End the calls, then the writer; a file that takes too long for that is left as it is."""
    await calls.ended()
    try:
        async with asyncio.timeout(CLOSE_S):
            await writer.close()
    except TimeoutError:
        log.warning("%s did not close in time: it is recovered at the next start", what)
