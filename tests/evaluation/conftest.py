"""A ticket tool in a process of its own, for tests that need its ledger to be the witness."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest
from msgspec import Struct

from evaluation.address import Address, unused_address
from evaluation.child import answers_200, child, rooms_environment
from evaluation.ticket_tool import Ledger


class RunningTool(Struct, frozen=True):
    """A tool that listens, its ledger's file, and how to ask it."""

    address: Address
    path: Path
    session: aiohttp.ClientSession

    async def ledger(self, wait: str = "") -> Ledger:
        """Ask for the ledger, and have the tool wait for `settled=true` or `arrivals=N` first."""
        async with self.session.get(f"{self.address.url}/ledger?{wait}") as response:
            return msgspec.json.decode(await response.read(), type=Ledger)


ToolFactory = Callable[..., contextlib.AbstractAsyncContextManager[RunningTool]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def ticket_tool(tmp_path: Path, session: aiohttp.ClientSession) -> ToolFactory:
    """Start a tool with the latencies given, in seconds, on the one ledger of the test; `honours` is where it looks for
    idempotency keys."""

    @contextlib.asynccontextmanager
    async def start(*latencies: float, honours: str = "") -> AsyncIterator[RunningTool]:
        address = unused_address()
        command = [sys.executable, "-m", "evaluation.ticket_tool", "--listen", str(address), "--ledger", "ledger.jsonl"]
        for latency in latencies:
            command += ["--latency", str(latency)]
        command += ["--honours", honours] if honours else []
        with child("tool", command, tmp_path, environ=rooms_environment()) as process:
            await process.until_ready(functools.partial(answers_200, session, f"{address.url}/ledger"), 20)
            yield RunningTool(address, tmp_path / "ledger.jsonl", session)

    return start
