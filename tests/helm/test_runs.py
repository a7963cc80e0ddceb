"""What the chart says is what runs: the rendered sidecar's command line, environment and files, as a process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helm import charts, kubelet
from tests.proxy import tools
from tests.proxy.callers import Caller, ask, call
from tests.proxy.processes import Proxy, until
from tests.redis_server import free_port, redis_server

PASSWORD = "correct horse #/?&% battery"


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The values for a store that is there: a Redis that asks for a password, or a disk."""
    if request.param == "sqlite":
        yield {
            "store": {"kind": "sqlite", "sqlite": {"existingClaim": "ledger"}},
            "workload": {"strategy": "Recreate"},
        }
        return
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis", "--requirepass", PASSWORD) as port:
        yield {"store": {"redis": {"addresses": [f"127.0.0.1:{port}"], "passwordSecret": {"name": "redis"}}}}


def start(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Proxy]:
    """Render the agent's chart, start its sidecar as a kubelet would, and return the pod and the process."""
    rendered = charts.render(charts.AGENT, {"holdfast": values})
    pod = charts.pod_of(charts.only(rendered, "Deployment"))
    (tmp_path / "ledger").mkdir()
    policies = charts.only(rendered, "ConfigMap")
    cluster = kubelet.Cluster(
        config_maps={policies["metadata"]["name"]: policies["data"]},
        secrets={"redis": {"password": PASSWORD}, "admin": {"token": "let me in"}, "logs": {"key": "k" * 32}},
        claims={"ledger": tmp_path / "ledger"},
    )
    started = kubelet.prepare(pod, charts.container_of(pod), cluster, tmp_path / "volumes")
    for name, value in started.environment.items():
        monkeypatch.setenv(name, value)
    command, *arguments = started.arguments
    assert command == "proxy"
    return pod, Proxy(tmp_path / "sidecar", *arguments)


def await_probe(proxy: Proxy, path: str) -> None:
    """Wait until a probe is answered well."""
    until(lambda: proxy.get(path)[0] == 200, path)


def test_rendered_sidecar_guards_a_call_and_drains(
    store: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts, says so where the probes ask, lets a call happen once, and on SIGTERM lets the one that is under way
    end, within the grace that the pod has."""
    ports = {"data": free_port(), "admin": free_port(), "health": free_port()}
    gate = tools.Gate()
    with tools.tool() as tool:
        slow = tool.script(tools.waits(gate))
        values = {
            "upstream": tool.url, "ports": ports,
            "adminTokenSecret": {"name": "admin"}, "logKeySecret": {"name": "logs"},
            **store,
        }  # fmt: skip
        pod, proxy = start(values, tmp_path, monkeypatch)
        try:
            container = charts.container_of(pod)
            assert (proxy.port, proxy.admin_port, proxy.health_port) == tuple(ports.values())
            for kind in ("startup", "liveness", "readiness"):
                await_probe(proxy, container[f"{kind}Probe"]["httpGet"]["path"])
            first, again = (ask(ports["data"], call("run-1")) for _ in range(2))
            assert (first.outcome, again.outcome) == ("executed", "replayed")
            assert first.body == again.body
            with Caller(ports["data"]) as caller:
                caller.send(call("run-2", script=slow))
                gate.await_reached()
                proxy.signal(signal.SIGTERM)
                proxy.await_line("proxy.draining", in_flight=1)
                gate.open()
                assert caller.answer().outcome == "executed"
            assert proxy.wait(pod["spec"]["terminationGracePeriodSeconds"]) == 0
            (stopped,) = proxy.lines("proxy.stopped")
            assert "unknown" not in stopped
        finally:
            proxy.kill()
