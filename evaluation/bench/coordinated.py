"""One coordinator on the server core, and all that it works with on the other one: API, tools, a sidecar, a Redis."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from evaluation.address import Address, unused_address
from evaluation.bench.systems import READY_S, Cores, redis
from evaluation.bench.turns import value
from evaluation.child import Child, answers_200, child, rooms_environment
from evaluation.redis_server import redis_server
from evaluation.sidecar import Sidecar, sidecar

SECRET = "whsec_aG9sZGZhc3QtYmVuY2gtc2VjcmV0LTAwMDE="  # noqa: S105  # of processes on loopback that end with the bench
LOOK_S = 0.05
TOOL_S = 0.02


class Coordinated:
    """What runs. `think_s` is how long the model takes for each step."""

    def __init__(
        self, session: aiohttp.ClientSession, coordinator: Child, at: Address, api: Address, tools: Address,
        proxy: Sidecar,
    ) -> None:  # fmt: skip
        self.session = session
        self.pid, self.proxy_pid = coordinator.pid, proxy.process.pid
        self.proxy_health = proxy.health.url
        self._at, self._api, self._tools = at.url, api.url, tools.url
        self._numbers = itertools.count()

    async def turn(self, steps: int, calls: int) -> None:
        """Start a turn of so many steps with so many different writes each, in a thread of its own."""
        number = next(self._numbers)
        plan = [
            [
                {"tool": "create_ticket", "arguments": {"user_id": f"u{number}", "subject": f"{step}-{call}"}}
                for call in range(calls)
            ]
            for step in range(steps)
        ]
        body = {
            "client_turn_id": f"{os.getpid()}-{number}", "assistant_id": "asst_1",
            "message": json.dumps({"steps": plan}),
        }  # fmt: skip
        async with self.session.post(f"{self._at}/v1/turns", json=body, raise_for_status=True) as answer:
            await answer.read()

    async def exposition(self) -> str:
        """Return the coordinator's metrics."""
        async with self.session.get(f"{self._at}/metrics", raise_for_status=True) as answer:
            return await answer.text()

    async def submissions(self) -> list[dict[str, Any]]:
        """Return what was handed in to the API so far."""
        return await self._read(f"{self._api}/_simulator/submissions")  # type: ignore[no-any-return]

    async def effects(self) -> list[dict[str, Any]]:
        """Return what the tools did so far."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self._read(f"{self._tools}/_tools/audit?since={len(found)}")
            if not page["entries"]:
                return found
            found += page["entries"]

    async def taken(self, steps: int, within_s: float) -> None:
        """Return once the API has taken so many steps in all. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while True:
                if sum(one["taken"] for one in await self.submissions()) >= steps:
                    return
                await asyncio.sleep(LOOK_S)

    async def counted(self, within_s: float) -> str:
        """Return the metrics as of a count that was made from now on, while no run was kept. Raises `TimeoutError`."""
        was = value(await self.exposition(), "holdfast_coordinator_store_operations_total")
        async with asyncio.timeout(within_s):
            while True:
                told = await self.exposition()
                fresh = value(told, "holdfast_coordinator_store_operations_total") != was
                if fresh and not value(told, "holdfast_runs_kept"):
                    return told
                await asyncio.sleep(LOOK_S)

    async def _read(self, url: str) -> Any:
        async with self.session.get(url, raise_for_status=True) as answer:
            return await answer.json()


@contextlib.asynccontextmanager
async def coordinated(
    session: aiohttp.ClientSession, directory: Path, cores: Cores, think_s: float, *, notified: bool
) -> AsyncIterator[Coordinated]:
    """Start everything, and end it on the way out. Without a redis-server both stores are SQLite files. Raises
    `ChildDied`."""
    _lay_out(directory, think_s)
    async with contextlib.AsyncExitStack() as stack:
        runs, ledger = f"sqlite:///{directory / 'runs.db'}", f"sqlite:///{directory / 'ledger.db'}"
        if program := redis_server():
            _, url = await stack.enter_async_context(redis(directory, cores.other, program))
            runs, ledger = f"{url}/0", f"{url}/1"
        api, tools, at = unused_address(), unused_address(), unused_address()
        told = ["--webhook-url", f"{at.url}/v1/webhooks/assistants", "--webhook-secret-file", "secret"]

        async def start(name: str, ready: str, core: int, *command: str) -> Child:
            arguments = [sys.executable, "-m", "cli.main", *command]
            running = stack.enter_context(child(name, arguments, directory, core=core, environ=rooms_environment()))
            await running.until_ready(functools.partial(answers_200, session, ready), READY_S)
            return running

        await start(
            "assistants", f"{api.url}/_simulator/submissions", cores.other, "simulate", "assistants", "--listen",
            str(api), "--script", "api.json", *(told if notified else ()),
        )  # fmt: skip
        await start(
            "tools", f"{tools.url}/_tools/audit", cores.other, "simulate", "tools", "--listen", str(tools),
            "--latency", str(TOOL_S),
        )  # fmt: skip
        proxy = await stack.enter_async_context(
            sidecar(session, directory, tools, ledger, ready_s=READY_S, core=cores.other)
        )
        coordinator = await start(
            "coordinator", f"{at.url}/readyz", cores.server, "coordinator", "--assistants", f"{api.url}/v1", "--proxy",
            proxy.address.url, "--listen", str(at), "--store", runs, "--log-level", "warning",
            *(("--webhook-secret-file", "secret") if notified else ()),
        )  # fmt: skip
        yield Coordinated(session, coordinator, at, api, tools, proxy)


def _lay_out(directory: Path, think_s: float) -> None:
    """Make the folder that the processes share, with what they are to read."""
    directory.mkdir()
    (directory / "secret").write_text(SECRET)
    (directory / "api.json").write_text(json.dumps({"queue": [think_s] * 2, "think": [think_s] * 2}))
