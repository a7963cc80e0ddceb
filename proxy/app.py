"""One proxy process: what it is made of, how it starts, and how it goes without losing anything (design 2.3)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

from aiohttp import web
from msgspec import Struct

from ledger.sealing import Sealing
from ledger.store import Store, StoreUnavailable, UnfitStore
from policies.faults import PolicyErrors
from policies.live import LivePolicies
from policies.matcher import PolicySet
from policies.model import UNMATCHED
from process.admission import Admission
from process.health import Health, health_runner, watch_lag
from process.log import Level
from process.tokens import Tokens
from process.tracing import Mode, opened
from proxy.admin_port import AdminPort
from proxy.books import Books
from proxy.data_port import DataPort
from proxy.execution import SHUTDOWN
from proxy.guard import Guard
from proxy.heartbeat import Heartbeat
from proxy.inbound.server import Server
from proxy.leases import Leases
from proxy.log import SERVICE, Log
from proxy.metrics import Metrics
from proxy.origins import parse_origin
from proxy.upstream.pool import Upstream
from proxy.works import Works

SETTLE_S = 3.0
"""After the grace: for writing down what is left as unknown. Three store deadlines."""

FLUSH_S = 0.5
"""After that: for answers that have just been written to leave."""

RETRY_START_S = 1.0


class Settings(Struct, frozen=True, kw_only=True):
    """What the command line said. Addresses are `(host, port)`; port 0 takes a free one. Without `admin` there is no
    admin port; without its token file, it asks for no token."""

    policies: str
    upstream: str
    listen: tuple[str, int]
    health: tuple[str, int]
    admin: tuple[str, int] | None = None
    admin_token_file: str | None = None
    lease_ms: int = 15_000
    grace_ms: int = 110_000
    drain_accept_ms: int = 0
    log_level: Level = "info"
    log_key: bytes = b""
    encryption_keys: tuple[bytes, ...] = ()
    tracing: Mode = "off"


class Proxy:
    """Runs until it is told to stop. `store` is opened and closed here."""

    def __init__(self, settings: Settings, store: Store) -> None:
        """Load the policies and put the parts together. Raises `PolicyErrors`, `OSError` for a token file that cannot
        be read, and `ValueError` for a bad `--upstream`, a token file without a token, or tracing without its library.
        """
        self._settings = settings
        self._store = store
        self.metrics = Metrics()
        self.log = Log(key=settings.log_key, level=settings.log_level)
        self.health = Health()
        self._live = LivePolicies(settings.policies, on_loaded=self._loaded, on_rejected=self._rejected)
        self.metrics.policy_rejected.set_function(lambda: float(self._live.rejected))
        self._in_force(self._live.current)
        self._upstream = Upstream()
        sealing = Sealing(settings.encryption_keys) if settings.encryption_keys else None
        books = Books(store, self.metrics, ids(), settings.lease_ms, sealing)
        self.works = Works(books, self._upstream, self.metrics, self.log)
        self._tracing = opened(settings.tracing, SERVICE, self._spans_dropped, self._collector_away)
        self._port = DataPort(
            self.works, Guard(self.works), lambda: self._live.current, parse_origin(settings.upstream), self._tracing
        )
        self.works.prober.policies = self._port.asked_of
        self._leases = Leases(self.works, settings.lease_ms, random.random)
        self._heartbeat = Heartbeat(self.works, ids()(), lambda: self._live.current.longest_upstream_ms)
        self._store_open = False
        tokens = None if settings.admin_token_file is None else Tokens(settings.admin_token_file)
        admission = Admission(settings.admin[0] if settings.admin else "", tokens, "--admin-token-file")
        self._admin = AdminPort(self.works, self._live, self._heartbeat, admission)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.addresses: dict[str, tuple[str, int]] = {}

    async def run(self, started: Callable[[Proxy], None] | None = None) -> None:
        """Serve until `stop`, then drain. Raises `OSError` for an address in use and `UnfitStore`."""
        async with contextlib.AsyncExitStack() as stack:
            await self._open(stack)
            if started is not None:
                started(self)
            await self._stop.wait()
            await self._drain()

    def stop(self) -> None:
        """Begin to drain; asked a second time, do not wait for forwards any longer."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        loop = self._loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._task_failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        stack.callback(self.log.flush)
        if self._tracing is not None:
            stack.push_async_callback(asyncio.to_thread, self._tracing.close)
        await self._serve(stack, "health", health_runner(self.health, self.metrics.registry), settings.health)
        self._tasks.append(loop.create_task(watch_lag(self.health, self.metrics.loop_lag)))
        stack.push_async_callback(self._upstream.close)
        stack.push_async_callback(self._store.close)
        if settings.admin is not None:
            await self._serve(stack, "admin", self._admin.runner(), settings.admin)
        up = await self._open_store()
        server = self._server = Server(self._port.serve, self.log, self._port.refused)
        listener = await loop.create_server(server, *settings.listen, backlog=1024)
        stack.push_async_callback(server.shutdown, FLUSH_S)
        stack.callback(listener.close)
        self.addresses["data"] = listener.sockets[0].getsockname()[:2]
        await self._live.start()
        stack.push_async_callback(self._live.stop)
        stack.callback(lambda: [task.cancel() for task in self._tasks])
        if up:
            await self._begin()
        else:
            self._tasks.append(loop.create_task(self._reach_store()))

    async def _serve(
        self, stack: contextlib.AsyncExitStack, name: str, runner: web.AppRunner, address: tuple[str, int]
    ) -> None:
        """Serve one of the ports beside the data port until the end."""
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, *address).start()
        self.addresses[name] = runner.addresses[0][:2]

    async def _open_store(self) -> bool:
        """Start the store; say whether it answered. One that does not is asked again while reads are being served."""
        try:
            if not self._store_open:
                await self._store.start()
                self._store_open = True
            await self._heartbeat.beat()  # a refusal that stands is known before anything is claimed
        except StoreUnavailable as error:
            self.metrics.store_failed("start")
            self._heartbeat.not_reached(str(error))
            self.log.event("store.unreachable", level="error", store=self._store.name, detail=str(error))
            return False
        for warning in getattr(self._store, "warnings", ()):
            self.log.event("store.warning", level="warning", store=self._store.name, detail=warning)
        return True

    async def _reach_store(self) -> None:
        """Ask again until the store is there and fit. One that must not be used may be set right while we wait."""
        reached = False
        while not reached:
            await asyncio.sleep(RETRY_START_S)  # a store cannot tell us that it is back
            try:
                reached = await self._open_store()
            except UnfitStore as error:
                self.log.event("store.unfit", level="error", store=self._store.name, detail=str(error))
        await self._begin()

    async def _begin(self) -> None:
        """The store is there: take up what a previous process left, and be ready."""
        self.metrics.store_answered()
        with contextlib.suppress(StoreUnavailable):  # the next round of the leases meets it again
            await self._leases.sweep()
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(self._leases.run()), loop.create_task(self._heartbeat.run())]
        self.health.started = self.health.ready = True
        settings = self._settings
        self.log.event(
            "proxy.started", listen=_shown(self.addresses["data"]), health=_shown(self.addresses["health"]),
            upstream=settings.upstream, store=self._store.name, policy=self._live.current.digest[:12],
        )  # fmt: skip
        self._warn_of_grace(self._live.current)

    async def _drain(self) -> None:
        """Readiness off, claims for a little longer, forwards within the grace; the rest is unknown, written down."""
        loop = asyncio.get_running_loop()
        grace_until = loop.time() + self._settings.grace_ms / 1_000
        self.health.ready = False
        self.log.event("proxy.draining", in_flight=len(self.works.joints))
        await self._wait(self._settings.drain_accept_ms / 1_000)
        self.works.stopping = True
        while (tasks := self._under_way()) and loop.time() < grace_until and not self._hurry.is_set():
            await self._wait_for(tasks, min(1.0, grace_until - loop.time()))
        await self._finish_answers(grace_until)
        left = [execution for execution in self.works.everyone() if not execution.task.done()]
        for execution in left:
            execution.give_up("the proxy stopped before the tool answered", SHUTDOWN)
        if left:
            await asyncio.wait([execution.task for execution in left], timeout=SETTLE_S)
        await self.works.prober.close()
        await self._port.close(SETTLE_S)
        await self.works.outbox.close(SETTLE_S)
        self.log.event("proxy.stopped", unknown=len(left))

    async def _finish_answers(self, until: float) -> None:
        """Let reads end, and answers that are still on their way to their callers: no ledger knows of them."""
        loop = asyncio.get_running_loop()
        if self._hurry.is_set() or loop.time() >= until:
            return
        self._server.drain()
        served = loop.create_task(self._server.finished())
        await self._wait_for([served], until - loop.time())
        served.cancel()

    async def _wait_for(self, tasks: list[asyncio.Task[None]], seconds_max: float) -> None:
        """Return when one of `tasks` has ended, or we are told to hurry, or the time is over."""
        hurry = asyncio.get_running_loop().create_task(self._hurry.wait())
        await asyncio.wait([*tasks, hurry], timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()

    def _under_way(self) -> list[asyncio.Task[None]]:
        return [execution.task for execution in self.works.everyone() if not execution.task.done()]

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _warn_of_grace(self, policies: PolicySet) -> None:
        """Say so if a forward may outlast the drain (contract, section 6): it would end unknown."""
        longest_ms = policies.longest_upstream_ms
        if self._settings.grace_ms <= longest_ms:
            detail = f"--grace is {self._settings.grace_ms} ms, and a tool may take {longest_ms} ms: raise --grace"
            self.log.event("grace.short", level="warning", detail=detail)

    def _in_force(self, policies: PolicySet) -> None:
        self.metrics.policy_generation.set(policies.generation)
        self.metrics.expect([policy.tool for policy in policies.policies if policy.effect == "write"] + [UNMATCHED])

    def _spans_dropped(self, why: str, spans: int) -> None:
        self.metrics.spans_dropped.labels(why).inc(spans)

    def _collector_away(self, why: str) -> None:
        """Say so, in the loop's thread, which may have ended."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._say_away, why)

    def _say_away(self, why: str) -> None:
        self.log.event("tracing.away", level="warning", detail=why)

    def _loaded(self, policies: PolicySet) -> None:
        self._warn_of_grace(policies)
        self._in_force(policies)
        self.metrics.policy_reloads.labels("accepted").inc()
        self.log.event("policies.accepted", generation=policies.generation, policy=policies.digest[:12])

    def _rejected(self, errors: PolicyErrors) -> None:
        self.metrics.policy_reloads.labels("rejected").inc()
        for fault in errors.faults:
            self.log.event("policies.rejected", level="error", detail=str(fault))

    def _task_failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.log.event("task.failed", level="error", detail=str(context.get("message")), error=repr(error))


def ids() -> Callable[[], str]:
    """Return a source of values never used before: random for the process, counted within it."""
    prefix = secrets.token_hex(10)
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers):x}"


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def announcement(proxy: Proxy, settings: Settings) -> str:
    """Return what to tell the person who started the proxy."""
    data, health = _shown(proxy.addresses["data"]), _shown(proxy.addresses["health"])
    admin = f"admin on http://{_shown(proxy.addresses['admin'])}; " if "admin" in proxy.addresses else ""
    return f"holdfast: http://{data} guards {settings.upstream}; {admin}health and metrics on http://{health}"
