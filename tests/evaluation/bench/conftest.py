"""The bench's own tool in a process of its own, and a client to steer it."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct

from evaluation.address import Address, unused_address
from evaluation.child import answers_200, child, rooms_environment


class FastTool(Struct, frozen=True):
    """A running tool."""

    address: Address
    session: aiohttp.ClientSession

    async def delay(self, microseconds: int) -> None:
        """Set how long executions take."""
        url = f"{self.address.url}/_bench/delay/{microseconds}"
        async with self.session.put(url, data=b"-", raise_for_status=True):
            pass

    async def executions(self) -> int:
        """Ask how many there have been."""
        async with self.session.get(f"{self.address.url}/_bench/executions", raise_for_status=True) as response:
            return int(await response.read())


@pytest.fixture
async def fast_tool(tmp_path: Path) -> AsyncIterator[FastTool]:
    """A tool without delay."""
    address = unused_address()
    command = [sys.executable, "-m", "evaluation.bench.fast_tool", "--listen", str(address)]
    async with aiohttp.ClientSession() as session:
        with child("fast-tool", command, tmp_path, environ=rooms_environment()) as process:
            ready = functools.partial(answers_200, session, f"{address.url}/_bench/executions")
            await process.until_ready(ready, 20)
            yield FastTool(address, session)
