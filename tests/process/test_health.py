"""Health: probes that tell the truth to the platform. What a proxy says there is in tests/proxy/test_health_port.py."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Gauge

from process.health import LAG_ALIVE_MAX_S, LAG_TICK_S, Health, health_routes, health_runner, watch_lag


def probes(health: Health) -> web.Application:
    """The routes, on an application of their own."""
    app = web.Application()
    app.add_routes(health_routes(health, CollectorRegistry()))
    return app


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> float:
    """Measure the event loop's lag often."""
    monkeypatch.setattr("process.health.LAG_TICK_S", 0.01)
    return LAG_TICK_S


@pytest.mark.fault(58)
@pytest.mark.loops("asyncio", "uvloop")
async def test_blocked_event_loop_is_measured(tick: float) -> None:
    """How late the loop runs is known as soon as it runs again."""
    health, registry = Health(), CollectorRegistry()
    gauge = Gauge("lag_seconds", "How late.", registry=registry)
    watching = asyncio.ensure_future(watch_lag(health, gauge))
    await asyncio.sleep(0.02)
    time.sleep(0.2)  # this is what a blocked loop is
    while health.lag_s < 0.1:  # noqa: ASYNC110  # what is measured has no event of its own
        await asyncio.sleep(0.001)
    assert registry.get_sample_value("lag_seconds") is not None
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_livez_fails_when_the_loop_was_held_up_for_too_long() -> None:
    """A process whose loop hangs for ten seconds serves nobody, and is restarted rather than kept."""
    health = Health(started=True, ready=True, lag_s=LAG_ALIVE_MAX_S)
    async with TestClient(TestServer(probes(health))) as client:
        answer = await client.get("/livez")
        assert answer.status == 503
        assert "10.0 s" in await answer.text()
        health.lag_s = 0.0
        assert (await client.get("/livez")).status == 200


@pytest.mark.fault(12)
@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
async def test_connection_that_does_nothing_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """A head that is not whole in time, and a connection that idles, hold no descriptor for long."""
    monkeypatch.setattr("process.health.HEADER_S", 0.1)
    runner = health_runner(Health(), CollectorRegistry())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(sent)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 404") == sent.endswith(b"\r\n\r\n")
    writer.close()
    await runner.cleanup()


@pytest.mark.parametrize(("path", "change"), [("/readyz", "ready"), ("/startupz", "started")])
async def test_probe_tells_what_the_process_says_of_itself(path: str, change: str) -> None:
    """Ready and started are two facts, and each has its probe."""
    health = Health()
    async with TestClient(TestServer(probes(health))) as client:
        assert (await client.get(path)).status == 503
        setattr(health, change, True)
        assert (await client.get(path)).status == 200
