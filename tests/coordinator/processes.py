"""Everything that a coordinator needs, as real processes: an API, tools, a sidecar; and coordinators to kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evaluation.address import Address, unused_address
from evaluation.sidecar import POLICIES
from tests.fork_server import forked
from tests.proxy.processes import BOOT, STOP_S, until
from tests.tracked import ROOT

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
"""What the API signs its notifications with."""


class Process:
    """One running command of ours, and what it has said."""

    def __init__(self, folder: Path, name: str, arguments: Sequence[str]) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self._process = forked(BOOT, arguments, cwd=ROOT, environment=os.environ, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def said(self) -> str:
        """Return everything that it has written."""
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind."""
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def kill(self) -> None:
        """End it with kill -9."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """End it with SIGTERM; return its exit code."""
        self._process.terminate()
        return self._process.wait(STOP_S * 2)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class World:
    """The API, the tools and the sidecar; `coordinator` starts one more of those that share `store`."""

    def __init__(self, folder: Path, store: str, policies: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.store = store
        self.policies = policies
        self._stack = stack
        self.assistants, self.tools, self.proxy = unused_address(), unused_address(), unused_address()
        self.admin = unused_address()
        self.secret = folder / "secret"
        self.secret.write_text(SECRET)
        self.processes: dict[str, Process] = {}

    def start(self, script: dict[str, Any], tooling: Sequence[str], webhook: Address | None) -> None:
        """Start what is around the coordinators."""
        api = ["simulate", "assistants", "--listen", str(self.assistants), "--script", self.script("api", script)]
        if webhook is not None:
            api += ["--webhook-url", f"{webhook.url}/v1/webhooks/assistants", "--webhook-secret-file", str(self.secret)]
        self.run("assistants", *api)
        self.run("tools", "simulate", "tools", "--listen", str(self.tools), *tooling)
        for url in (f"{self.assistants.url}/_simulator/submissions", f"{self.tools.url}/_tools/audit"):
            until(lambda url=url: answers(url), f"{url} answers")  # type: ignore[misc]

    def script(self, name: str, script: dict[str, Any]) -> str:
        """Write a simulator's script, and return its path."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(script))
        return str(file)

    def sidecar(self, name: str, ledger: str, proxy: Address, admin: Address) -> None:
        """Start a sidecar before the tools, and wait until it takes calls."""
        health = unused_address()
        process = self.run(
            name, "proxy", "--policies", str(self.policies), "--upstream", self.tools.url, "--listen", str(proxy),
            "--health", str(health), "--admin", str(admin), "--store", ledger,
        )  # fmt: skip
        until(lambda: answers(f"{health.url}/readyz"), f"{name} is ready: {process.said()}")

    def run(self, name: str, *arguments: str) -> Process:
        """Start a command; it is ended with the world."""
        process = self.processes[name] = Process(self.folder, name, arguments)
        self._stack.callback(process.end)
        return process

    def coordinator(self, name: str = "coordinator", listen: Address | None = None, *more: str) -> Coordinator:
        """Start a coordinator, and return it once it is ready."""
        address = listen or unused_address()
        process = self.run(
            name, "coordinator", "--assistants", f"{self.assistants.url}/v1", "--proxy", self.proxy.url,
            "--policies", str(self.policies), "--listen", str(address), "--store", self.store, *more,
        )  # fmt: skip
        until(lambda: answers(f"{address.url}/readyz"), f"{name} is ready: {process.said()}")
        return Coordinator(process, address)

    def effects(self) -> list[dict[str, Any]]:
        """Return the tools' own audit, once nothing that was sent can still add to it."""
        entries: list[dict[str, Any]] = get(f"{self.tools.url}/_tools/audit?settled=true")["entries"]
        return entries

    def taken(self) -> list[str]:
        """Return the steps whose outputs the API took, each as often as it did."""
        return [one["step_id"] for one in get(f"{self.assistants.url}/_simulator/submissions") if one["taken"]]


class Coordinator:
    """A running coordinator and its address."""

    def __init__(self, process: Process, address: Address) -> None:
        self.process = process
        self.url = address.url

    def turn(self, number: int, *steps: Sequence[tuple[str, dict[str, Any]]], thread_id: str = "") -> str:
        """Start a turn whose run asks for `steps`; return the run's id."""
        plan = [[{"tool": tool, "arguments": arguments} for tool, arguments in step] for step in steps]
        body = {
            "client_turn_id": f"turn-{number}", "message": json.dumps({"steps": plan}), "assistant_id": "asst_1",
            "thread_id": thread_id,
        }  # fmt: skip
        run_id: str = post(f"{self.url}/v1/turns", body)["run_id"]
        return run_id

    def show(self, run_id: str) -> dict[str, Any]:
        """Return what it tells of a run."""
        told: dict[str, Any] = get(f"{self.url}/v1/runs/{run_id}")
        return told

    def ended(self, run_id: str) -> dict[str, Any]:
        """Return a run once it is over."""
        return until(lambda: (run := self.show(run_id))["ended"] and run, f"{run_id} ends")


def answers(url: str) -> bool:
    """Say whether anything but a refused connection or a 503 comes back."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status < 500  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def get(url: str) -> Any:
    """Return the JSON at `url`."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def post(url: str, body: Any, within_s: float = 30) -> Any:
    """Post JSON, and return the answer's."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=within_s) as answer:
        return json.load(answer)


@contextlib.contextmanager
def world(
    folder: Path, store: str = "", script: dict[str, Any] | None = None, latency_s: float = 0.05,
    webhook: Address | None = None, policies: Path = POLICIES,
) -> Iterator[World]:  # fmt: skip
    """Run everything but coordinators. They keep their runs in `store`, or in a file of the folder; the sidecar keeps
    its calls in a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        opened = World(folder, store or f"sqlite:///{folder / 'coordinator.db'}", policies, stack)
        opened.start(script or {"think": [0.05, 0.1]}, ["--latency", str(latency_s)], webhook)
        opened.sidecar("proxy", f"sqlite:///{folder / 'ledger.db'}", opened.proxy, opened.admin)
        yield opened
