"""What the chart says is what runs: the rendered sidecar's command line, environment and files, as a process."""

from __future__ import annotations

import contextlib
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.address import unused_address
from tests.coordinator.processes import Process, answers
from tests.helm import charts, kubelet
from tests.proxy import tools
from tests.proxy.callers import Caller, ask, call
from tests.proxy.processes import Proxy, until
from tests.redis_server import redis_server

PASSWORD = "correct horse #/?&% battery"
TOKEN = "not for everybody"


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


class Node:
    """Starts the containers of a rendered pod as a kubelet would, with the Secrets and disks of a namespace."""

    def __init__(self, rendered: list[dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pod = charts.pod_of(charts.only(rendered, "Deployment"))
        self._folder, self._monkeypatch = folder, monkeypatch
        (folder / "ledger").mkdir()
        policies = charts.only(rendered, "ConfigMap")
        self._cluster = kubelet.Cluster(
            config_maps={policies["metadata"]["name"]: policies["data"]},
            secrets={
                "redis": {"password": PASSWORD}, "admin": {"token": "let me in"}, "logs": {"key": "k" * 32},
                "coordinator": {"token": TOKEN},
            },
            claims={"ledger": folder / "ledger"},
        )  # fmt: skip

    def command(self, name: str) -> list[str]:
        """Return a container's command line; its environment is the next process's."""
        container = charts.container_of(self.pod, name)
        started = kubelet.prepare(self.pod, container, self._cluster, self._folder / name)
        for variable, value in started.environment.items():
            self._monkeypatch.setenv(variable, value)
        return started.arguments

    def probes(self, name: str) -> list[str]:
        """Return the paths of a container's probes."""
        container = charts.container_of(self.pod, name)
        return [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]


def await_probe(proxy: Proxy, path: str) -> None:
    """Wait until a probe is answered well."""
    until(lambda: proxy.get(path)[0] == 200, path)


def test_rendered_sidecar_guards_a_call_and_drains(
    store: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts, says so where the probes ask, lets a call happen once, and on SIGTERM lets the one that is under way
    end, within the grace that the pod has."""
    ports = {"data": unused_address().port, "admin": unused_address().port, "health": unused_address().port}
    gate = tools.Gate()
    with tools.tool() as tool:
        slow = tool.script(tools.waits(gate))
        values = {
            "upstream": tool.url, "ports": ports,
            "adminTokenSecret": {"name": "admin"}, "logKeySecret": {"name": "logs"},
            **store,
        }  # fmt: skip
        node = Node(charts.render(charts.AGENT, {"holdfast": values}), tmp_path, monkeypatch)
        command, *arguments = node.command("holdfast")
        assert command == "proxy"
        proxy = Proxy(tmp_path / "sidecar", *arguments)
        try:
            assert (proxy.port, proxy.admin_port, proxy.health_port) == tuple(ports.values())
            for path in node.probes("holdfast"):
                await_probe(proxy, path)
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
            assert proxy.wait(node.pod["spec"]["terminationGracePeriodSeconds"]) == 0
            (stopped,) = proxy.lines("proxy.stopped")
            assert "unknown" not in stopped
        finally:
            proxy.kill()


def test_rendered_pod_takes_a_turn_from_its_start_to_its_end(
    store: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sidecar and coordinator of the application chart, each with its own command line and environment: a turn's tool
    call runs once, through the one, and its run is completed by the other, which asks for its token."""
    ports = {"data": unused_address().port, "admin": unused_address().port, "health": unused_address().port}
    assistants, tool, api = unused_address(), unused_address(), unused_address().port
    workload = store.pop("workload", {"strategy": "RollingUpdate"})
    values = {
        "coordinator": {
            "assistants": {"url": f"{assistants.url}/v1"}, "tokenSecret": {"name": "coordinator"}, "port": api,
            "replicas": 1, "strategy": workload["strategy"],
        },
        "holdfast": {"upstream": tool.url, "ports": ports, **store},
    }  # fmt: skip
    node = Node(charts.render(charts.APPLICATION, values), tmp_path, monkeypatch)
    (tmp_path / "script.json").write_text(json.dumps({"think": [0.05, 0.1]}))
    with contextlib.ExitStack() as stack:

        def run(name: str, *arguments: str) -> Process:
            process = Process(tmp_path, name, arguments)
            stack.callback(process.end)
            return process

        script = ("--script", str(tmp_path / "script.json"))
        run("assistants", "simulate", "assistants", "--listen", str(assistants), *script)
        run("tools", "simulate", "tools", "--listen", str(tool), "--latency", "0.01")
        run("sidecar", *node.command("holdfast"))
        coordinator = run("coordinator", *node.command("coordinator"))
        for path in node.probes("coordinator"):
            until(lambda path=path: answers(f"http://127.0.0.1:{api}{path}"), path)  # type: ignore[misc]
        until(lambda: answers(f"{assistants.url}/_simulator/submissions"))
        until(lambda: answers(f"{tool.url}/_tools/audit"))
        until(lambda: answers(f"http://127.0.0.1:{ports['health']}/readyz"))
        step = [{"tool": "create_ticket", "arguments": {"user_id": "u", "subject": "Printer"}}]
        turn = {"client_turn_id": "t", "message": json.dumps({"steps": [step]}), "assistant_id": "asst_1"}
        url = f"http://127.0.0.1:{api}/v1"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            asked(f"{url}/turns", turn, token="")
        run_id = asked(f"{url}/turns", turn)["run_id"]
        until(lambda: asked(f"{url}/runs/{run_id}")["ended"], coordinator.said())
        assert asked(f"{url}/runs/{run_id}")["status"] == "completed"
        (effect,) = asked(f"{tool.url}/_tools/audit?settled=true")["entries"]
        assert effect["tool"] == "create_ticket"
        assert coordinator.stop() == 0


def asked(url: str, body: Any = None, token: str = TOKEN) -> Any:
    """Return the JSON that is answered to a GET, or to a POST of `body`."""
    fields = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), fields)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
