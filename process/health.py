"""Health: probes for the platform, and metrics. They never ask a store, and never touch a call or a run."""

from __future__ import annotations

import asyncio

from aiohttp import web
from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import choose_encoder

HEADER_S = 10.0
"""For a request's head to be whole, and for an idle connection to be used again, as on the data port."""

LAG_TICK_S = 0.5
LAG_ALIVE_MAX_S = 10.0
"""An event loop that is held up for longer serves nobody; restarting it is the lesser harm."""


class Health(Struct):
    """What the probes tell. `started`: settings are loaded, ports are bound, the store has been reached once."""

    started: bool = False
    ready: bool = False
    lag_s: float = 0.0


async def watch_lag(health: Health, gauge: Gauge) -> None:
    """Measure for ever how late the event loop wakes us."""
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(LAG_TICK_S)
        health.lag_s = max(0.0, loop.time() - before - LAG_TICK_S)
        gauge.set(health.lag_s)


def health_routes(health: Health, registry: CollectorRegistry) -> list[web.RouteDef]:
    """Return `/startupz`, `/livez`, `/readyz` (200 or 503, with a word why) and `/metrics`."""

    async def startupz(_: web.Request) -> web.Response:
        return _say(health.started, "started", "starting")

    async def livez(_: web.Request) -> web.Response:
        return _say(health.lag_s < LAG_ALIVE_MAX_S, "alive", f"the event loop was held up for {health.lag_s:.1f} s")

    async def readyz(_: web.Request) -> web.Response:
        return _say(health.ready, "ready", "starting or draining")

    async def metrics_page(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    return [
        web.get("/startupz", startupz),
        web.get("/livez", livez),
        web.get("/readyz", readyz),
        web.get("/metrics", metrics_page),
    ]


def health_runner(health: Health, registry: CollectorRegistry) -> web.AppRunner:
    """Return what serves a port of their own. aiohttp would wait an hour for a head or for the next request (its
    keep-alive time bounds both), on a port that the whole network may reach."""
    app = web.Application()
    app.add_routes(health_routes(health, registry))
    return web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=HEADER_S)


def _say(good: bool, yes: str, no: str) -> web.Response:
    return web.Response(text=yes + "\n") if good else web.Response(status=503, text=no + "\n")
