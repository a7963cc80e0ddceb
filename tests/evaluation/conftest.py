"""Simulated tools in a process of their own, for tests that need their audit to be the witness."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec
import pytest
from msgspec import Struct

from evaluation.address import Address, unused_address
from evaluation.child import Child, answers_200, child, rooms_environment
from evaluation.tools.audit import Effect, Page


class RunningTools(Struct, frozen=True):
    """Tools that listen, their audit's file, their process, and how to ask them."""

    address: Address
    path: Path
    process: Child
    session: aiohttp.ClientSession

    async def audit(self, query: str = "") -> Page:
        """Ask for the audit, and have the tools wait for `settled=true` or `arrivals=N` first."""
        async with self.session.get(f"{self.address.url}/_tools/audit?{query}") as response:
            return msgspec.json.decode(await response.read(), type=Page)


ToolsFactory = Callable[..., contextlib.AbstractAsyncContextManager[RunningTools]]


def effect(audit_id: str, request_id: str) -> Effect:
    """Return an execution of the incident's call."""
    return Effect(
        tool="create_ticket", user_id="usr_1042", run_id="run_31f7", tool_call_id="call_A1", request_id=request_id,
        payload_hash="9f3c", audit_id=audit_id, arrived_at=0.0, ts=0.0, answered=201,
    )  # fmt: skip


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def tools(tmp_path: Path, session: aiohttp.ClientSession) -> ToolsFactory:
    """Start `holdfast simulate tools` with the latencies given, in seconds, a script's text, and more options, on the
    one audit of the test."""

    @contextlib.asynccontextmanager
    async def start(*latencies: float, script: str = "", options: Sequence[str] = ()) -> AsyncIterator[RunningTools]:
        address = unused_address()
        command = [sys.executable, "-m", "cli.main", "simulate", "tools", "--listen", str(address)]
        command += ["--audit", "audit.jsonl", *options]
        for latency in latencies:
            command += ["--latency", str(latency)]
        if script:
            (tmp_path / "script.yaml").write_text(script)
            command += ["--script", "script.yaml"]
        with child("tool", command, tmp_path, environ=rooms_environment()) as process:
            await process.until_ready(functools.partial(answers_200, session, f"{address.url}/_tools/audit"), 20)
            yield RunningTools(address, tmp_path / "audit.jsonl", process, session)

    return start
