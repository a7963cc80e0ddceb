"""One coordinator process: what it is made of, how it starts, and how it lets go without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from aiohttp import web
from msgspec import Struct

from coordinator.api import Api
from coordinator.backend import Backend
from coordinator.facts import Facts
from coordinator.inbox import Inbox
from coordinator.means import Limits, Means
from coordinator.metrics import Metrics
from coordinator.serving import application
from coordinator.store import RunStore
from coordinator.tools import Tools
from coordinator.turns import Turns
from coordinator.watching import Watching
from coordinator.webhooks import Webhooks
from ledger.store import StoreUnavailable, UnfitStore
from policies.live import LivePolicies
from process.admission import Admission
from process.health import HEADER_S, Health, watch_lag
from process.log import Level, Log
from process.tokens import Tokens
from process.tracing import Mode, opened

SERVICE = "holdfast-coordinator"
RETRY_START_S = 1.0
COUNT_S = 5.0
"""Between counts of runs and of waiting results, for metrics."""
LET_GO_S = 12.0
"""For passes under way at the end: a submission is waited for as long as the backend's adapter does."""


class Settings(Struct, frozen=True, kw_only=True):
    """What the command line said. `webhook_secrets` and `tokens` are files; `elsewhere` are tools whose results are
    posted back by a gateway; `complete` lets a result without a call's id belong to the only one that waits."""

    listen: tuple[str, int]
    policies: str | None = None
    tokens: str | None = None
    webhook_secrets: str | None = None
    elsewhere: tuple[str, ...] = ()
    complete: bool = False
    limits: Limits = Limits()
    log_level: Level = "info"
    tracing: Mode = "off"


class Coordinator:
    """Runs until it is told to stop. `store`, `backend` and `tools` are closed here."""

    def __init__(self, settings: Settings, store: RunStore, backend: Backend, tools: Tools) -> None:
        """Put the parts together. Raises `PolicyErrors`, and `OSError` or `ValueError` for a file of secrets that
        cannot be read or holds none."""
        self._settings = settings
        self._store = store
        self.metrics, self.log, self.health = Metrics(), Log(SERVICE, level=settings.log_level), Health()
        self._loop: asyncio.AbstractEventLoop | None = None
        tracing = self._tracing = opened(settings.tracing, SERVICE, self._spans_dropped, self._collector_away)
        self._live = None if settings.policies is None else LivePolicies(settings.policies)
        live = self._live
        self.metrics.queue_limit.set(settings.limits.queue_max)
        prefix, numbers = secrets.token_hex(8), count(1)
        self.means = Means(
            store=store, backend=backend, tools=tools, facts=Facts(None if live is None else lambda: live.current),
            metrics=self.metrics, log=self.log, owner=prefix, now_ms=lambda: int(time.time() * 1_000),
            version=lambda: f"{prefix}{next(numbers):x}", share=random.random, limits=settings.limits,
            elsewhere=frozenset(settings.elsewhere), slots=asyncio.Semaphore(settings.limits.calls_max),
            late=asyncio.Semaphore(settings.limits.late_max), tracing=tracing,
        )  # fmt: skip
        self.watching = Watching(self.means)
        self.turns = Turns(self.means, self.watching)
        self.inbox = Inbox(self.means, self.watching.nudged, complete=settings.complete)
        self._stop = asyncio.Event()
        tokens = None if settings.tokens is None else Tokens(settings.tokens)
        webhooks = None if settings.webhook_secrets is None else Webhooks(settings.webhook_secrets)
        api = Api(self.means, self.watching, self.turns, self.inbox, webhooks, self._stop.is_set)
        admission = Admission(settings.listen[0], tokens, "--token-file")
        self._app = application(api, admission, self.health, self.metrics, self.log)
        self._tasks: list[asyncio.Task[None]] = []
        self._taking_in: list[asyncio.Task[None]] = []
        self.address: tuple[str, int] = settings.listen

    async def run(self, started: Callable[[Coordinator], None] | None = None) -> None:
        """Serve until `stop`, then let go. Raises `OSError` for an address in use, and `UnfitStore`."""
        loop = self._loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._task_failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        async with contextlib.AsyncExitStack() as stack:
            if self._tracing is not None:
                stack.push_async_callback(asyncio.to_thread, self._tracing.close)
            stack.push_async_callback(self.means.tools.close)
            stack.push_async_callback(self.means.backend.close)
            stack.push_async_callback(self._store.close)
            runner = web.AppRunner(
                self._app, access_log=None, handle_signals=False, keepalive_timeout=HEADER_S, shutdown_timeout=LET_GO_S
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, *self._settings.listen).start()
            self.address = runner.addresses[0][:2]
            self._tasks.append(loop.create_task(watch_lag(self.health, self.metrics.loop_lag)))
            if started is not None:
                started(self)
            beginning = loop.create_task(self._begin())
            stopped = loop.create_task(self._stop.wait())
            await asyncio.wait([beginning, stopped], return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
                await stopped
            beginning.cancel()
            await self._let_go()

    def stop(self) -> None:
        """Begin to let go."""
        self._stop.set()

    async def _begin(self) -> None:
        """Reach the store, however long that takes; then take up what there is to do, and be ready."""
        while True:
            try:
                await self._store.start()
                break
            except StoreUnavailable as error:
                self.metrics.store_up.set(0)
                self.log.event("store.unreachable", level="error", store=self._store.name, detail=str(error))
                await asyncio.sleep(RETRY_START_S)  # a store cannot tell us that it is back
        if self._live is not None:
            await self._live.start()
        self._store.listen(self.means.owner, self._nudged)
        loop = asyncio.get_running_loop()
        self._taking_in = [loop.create_task(self.inbox.work())]
        work = (self.watching.take(self.turns.resume), self.watching.renew(), self._count())
        self._tasks += [*self._taking_in, *(loop.create_task(one) for one in work)]
        self.health.started = self.health.ready = True
        self.log.event(
            "coordinator.started", listen=f"{self.address[0]}:{self.address[1]}", store=self._store.name,
            backend=self.means.backend.name, owner=self.means.owner,
        )  # fmt: skip

    def _nudged(self, key: str) -> None:
        self.watching.nudged(key)
        if not key:
            self.inbox.kick()

    async def _let_go(self) -> None:
        """Readiness off; passes end; runs are released, so that another replica takes them at once; results that were
        given to this process are taken in, since nobody else would get them for a while."""
        self.health.ready = False
        self.log.event("coordinator.stopping", runs=len(self.watching))
        self.inbox.stop()
        await self.watching.stop(LET_GO_S)
        if self._taking_in:
            await asyncio.wait(self._taking_in, timeout=LET_GO_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._live is not None:
            await self._live.stop()
        self.log.event("coordinator.stopped")
        self.log.flush()

    async def _count(self) -> None:
        """Keep the store-wide figures up to date, for ever."""
        seen: set[str] = set()
        while True:
            try:
                counts, depth = await self._store.counts(), await self._store.depth()
            except StoreUnavailable:
                self.metrics.store_up.set(0)
            else:
                self.metrics.store_up.set(1)
                seen |= counts.keys()
                for label in seen:
                    self.metrics.runs.labels(label).set(counts.get(label, 0))
                self.metrics.queue_depth.set(depth)
            self.metrics.kept.set(len(self.watching))
            self.metrics.longest_wait.set(self.watching.longest_wait_s())
            self.metrics.store_asked(self._store.operations)
            await asyncio.sleep(COUNT_S)

    def _spans_dropped(self, why: str, spans: int) -> None:
        self.metrics.spans_dropped.labels(why).inc(spans)

    def _collector_away(self, why: str) -> None:
        """Say so, in the loop's thread, which may have ended."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._say_away, why)

    def _say_away(self, why: str) -> None:
        self.log.event("tracing.away", level="warning", detail=why)

    def _task_failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.log.event("task.failed", level="error", detail=str(context.get("message")), error=repr(error))


def announcement(coordinator: Coordinator, assistants: str, proxy: str) -> str:
    """Return what to tell the person who started it."""
    host, port = coordinator.address
    return f"holdfast: coordinator on http://{host}:{port} watches {assistants}, calls tools through {proxy}"


__all__ = ["Coordinator", "Settings", "UnfitStore", "announcement"]
