"""All that is scraped: a sidecar and a coordinator with simulated tools and API, which misbehave, and a Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from msgspec import Struct

from evaluation.address import Address, unused_address
from evaluation.child import Child, answers_200, child, rooms_environment
from evaluation.redis_server import redis_command, redis_server
from evaluation.sidecar import POLICIES, sidecar

READY_S = 60.0
SECRET = "whsec_aG9sZGZhc3QtcGljdHVyZS1zZWNyZXQtMDE="  # noqa: S105  # of processes on loopback that end with the picture
TOOLS = {
    "tools": {
        "_default": {
            "latency": [0.02, 0.08], "slow": [1, 4],
            "rates": {"slow": 0.03, "applied-then-cut": 0.02, "throttled": 0.01, "applied-then-500": 0.005},
        },
        "refund_payment": {"key": {"at": "header:Idempotency-Key", "window": 86_400}},
    },
}  # fmt: skip
API = {"rates": {"submitApplied503": 0.03, "submitRefused503": 0.03, "webhookLost": 0.1}}
GATEWAYS = "archive_mail"
"""The tool whose results are posted back."""


class Machinery(Struct, frozen=True):
    """Where everything is. `store` is the Redis that sidecar and coordinator share, None where there is none."""

    prometheus: str
    sidecar: str
    coordinator: str
    store: Child | None

    async def away(self, seconds: float) -> None:
        """Have the store answer nobody for a while, if it is one that can be stopped."""
        if self.store is not None:
            os.kill(self.store.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.kill(self.store.pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def machinery(session: aiohttp.ClientSession, directory: Path, prometheus: str) -> AsyncIterator[Machinery]:
    """Start everything, with the shipped policies, and end it on the way out; `prometheus` is its program. Without a
    redis-server both stores are SQLite files. Raises `ChildDied`."""
    for name, what in (("tools.json", json.dumps(TOOLS)), ("api.json", json.dumps(API)), ("secret", SECRET)):
        (directory / name).write_text(what)
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, ready: str, *command: str) -> Child:
            started = stack.enter_context(child(name, command, directory, environ=rooms_environment()))
            await started.until_ready(functools.partial(answers_200, session, ready), READY_S)
            return started

        runs, ledger, store = f"sqlite:///{directory / 'runs.db'}", f"sqlite:///{directory / 'ledger.db'}", None
        if program := redis_server():
            at = unused_address()
            store = stack.enter_context(child("redis", redis_command(program, at, directory), directory))
            runs, ledger = f"redis://{at}/0", f"redis://{at}/1"
        ours = (sys.executable, "-m", "cli.main")
        tools, api, coordinator, scraper = (unused_address() for _ in range(4))
        await start(
            "tools", f"{tools.url}/_tools/audit", *ours, "simulate", "tools", "--listen", str(tools),
            "--script", "tools.json",
        )  # fmt: skip
        await start(
            "api", f"{api.url}/_simulator/submissions", *ours, "simulate", "assistants", "--listen", str(api),
            "--script", "api.json", "--webhook-url", f"{coordinator.url}/v1/webhooks/assistants",
            "--webhook-secret-file", "secret",
        )  # fmt: skip
        proxy = await stack.enter_async_context(sidecar(session, directory, tools, ledger, ready_s=READY_S))
        await start(
            "coordinator", f"{coordinator.url}/readyz", *ours, "coordinator", "--assistants", f"{api.url}/v1",
            "--proxy", proxy.address.url, "--policies", str(POLICIES), "--listen", str(coordinator), "--store", runs,
            "--webhook-secret-file", "secret", "--gateway", GATEWAYS,
        )  # fmt: skip
        (directory / "prometheus.json").write_text(json.dumps(scraping(proxy.health, coordinator)))
        await start(
            "prometheus", f"{scraper.url}/-/ready", prometheus, "--config.file=prometheus.json",
            "--storage.tsdb.path=tsdb", f"--web.listen-address={scraper}", "--log.level=warn",
        )  # fmt: skip
        yield Machinery(scraper.url, proxy.address.url, coordinator.url, store)


def scraping(health: Address, coordinator: Address) -> dict[str, object]:
    """Return Prometheus' configuration: both processes each second, with the labels that a PodMonitor would give."""
    targets = [
        {"targets": [str(at)], "labels": {"namespace": "agents", "container": name}}
        for at, name in ((health, "holdfast"), (coordinator, "coordinator"))
    ]
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "5s"},
        "scrape_configs": [{"job_name": "agents/demo", "static_configs": targets}],
    }
