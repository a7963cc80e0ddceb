"""A reference coordinator as a process: its command line, its parts, and how it serves until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import NamedTuple, Protocol

import uvloop
from aiohttp import web

from evaluation.address import Address, parse_address
from evaluation.serving import serve
from evaluation.variants.agents import Agents
from evaluation.variants.exchange import HttpExchange
from evaluation.variants.metrics import Metrics
from evaluation.variants.sharing import Share
from evaluation.variants.turn_api import TurnApi
from evaluation.variants.workers import Patience, Workers
from process.health import watch_lag

READY_S = 0.5
"""Between looks at what it cannot work without."""


def parser(about: str) -> argparse.ArgumentParser:
    """Return the command line that both have."""
    found = argparse.ArgumentParser(description=about)
    found.add_argument("--listen", type=parse_address, default=Address("127.0.0.1", 8110), metavar="HOST:PORT")
    found.add_argument("--assistants", required=True, metavar="URL", help="base URL of the API, up to /threads")
    found.add_argument("--tools", required=True, metavar="URL", help="tools are called at URL/tools/NAME")
    found.add_argument("--region", default="", help="whose runs it watches")
    found.add_argument("--instance", type=int, default=0, metavar="N", help="which one it is, from 0")
    found.add_argument("--of", type=int, default=1, metavar="N", help="how many there are in the region")
    found.add_argument("--workers", type=int, default=16, metavar="N", help="tool calls under way at a time")
    found.add_argument("--limit", type=float, default=10.0, metavar="SECONDS", help="for one attempt to call a tool")
    return found


class Parts(NamedTuple):
    """What both are made of."""

    metrics: Metrics
    agents: Agents
    workers: Workers
    share: Share


def parts(told: argparse.Namespace) -> Parts:
    """Return them, as the command line tells."""
    metrics = Metrics()
    agents = Agents(told.assistants, HttpExchange(told.workers * 4))
    patience = Patience(limit_s=told.limit)
    workers = Workers(told.tools, HttpExchange(told.workers), metrics, workers=told.workers, patience=patience)
    return Parts(metrics, agents, workers, Share(told.region, told.instance, told.of))


class Coordinator(Protocol):
    """What works behind the API."""

    async def run(self) -> None:
        """Work, for ever."""

    async def ready(self) -> bool:
        """Say whether what it cannot work without is there."""


async def run(
    listen: Address, api: TurnApi, coordinator: Coordinator, metrics: Metrics,
    *closing: Callable[[], Awaitable[None]],
) -> None:  # fmt: skip
    """Serve and work until SIGTERM or SIGINT, and close what there is to close. What is under way then is given up."""

    async def working(_: web.Application) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        parts = coordinator.run(), watch_lag(api.health, metrics.lag), _watch(api, coordinator)
        tasks = [loop.create_task(part) for part in parts]
        for task in tasks:
            task.add_done_callback(_end_if_broken)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for close in closing:
            await close()

    application = api.application()
    application.cleanup_ctx.append(working)

    def started(bound: Address) -> None:
        sys.stderr.write(f"listening on {bound.url}\n")

    await serve(listen, application, started)


def start(serving: Coroutine[None, None, None]) -> None:
    """Run a process's main coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


def _end_if_broken(task: asyncio.Task[None]) -> None:
    """End the process if a part of it has died: what is left would look alive and do nothing."""
    if not task.cancelled() and (error := task.exception()) is not None:
        traceback.print_exception(error)
        signal.raise_signal(signal.SIGTERM)


async def _watch(api: TurnApi, coordinator: Coordinator) -> None:
    while True:
        api.health.ready = api.health.started = await coordinator.ready()
        await asyncio.sleep(READY_S)
