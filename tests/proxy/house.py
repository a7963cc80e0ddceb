"""The proxy that most tests share: one process on SQLite, one scripted tool, and a policy for each thing to be tried.

Tests keep apart by their run ids. A test that hurts the process (kills, signals, floods) starts one of its own.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.proxy import processes, tools
from tests.proxy.callers import Answer, Caller, ask, call
from tests.proxy.processes import Proxy
from tests.proxy.tools import Execution, Script, Tool

POLICIES = """
apiVersion: holdfast.dev/v1
kind: Defaults
timeouts: {connect: 5s, upstream: 60s, hold: 60s, late: 60s}
retry: {attempts: 1}
---
{act}
---
# Waits for nobody.
{brief}
timeouts: {hold: 150ms}
---
# Its time is soon over, and it is listened to for long.
{quick}
timeouts: {connect: 900ms, upstream: 1s, hold: 20s}
---
# Its time is soon over, and it is not listened to for long.
{deaf}
timeouts: {connect: 900ms, upstream: 1s, hold: 500ms, late: 200ms}
---
{small}
result: {maxBody: 1KiB}
limits: {requestBody: 1KiB}
---
{narrow}
limits: {inFlight: 2, waitersPerKey: 2}
---
{crowd}
limits: {waitersPerKey: 5000}
---
{closing}
result: {closeDelimitedIsWhole: true}
---
{tenanted}
key: {tenant: header:X-Tenant-Id}
---
{loose}
key: {onMissing: forward}
---
{unguarded}
mode: off
---
{quiet}
announce: false
---
{judged}
result: {final: [2xx, 3xx, 4xx, 503], notFinal: [409, 429], failedIf: ["body:/isError == true"]}
---
{audited}
result: {auditId: body:/ticket, maxBody: 1KiB}
---
{located}
result: {auditId: "header:X-Ticket", maxBody: 1KiB}
---
{observed}
mode: observe
timeouts: {connect: 900ms, upstream: 1s, hold: 5s, late: 60s}
result: {maxBody: 1KiB}
limits: {requestBody: 1KiB}
key: {tenant: header:X-Tenant-Id}
---
{denied}
mode: deny
---
{refused}
upstream: {url: "http://127.0.0.1:{refused_port}"}
retry: {attempts: 3, backoff: {base: 10ms, max: 20ms}}
---
{offline}
effect: read
upstream: {url: "http://127.0.0.1:{refused_port}"}
---
{silent}
upstream: {url: "http://127.0.0.1:{silent_port}"}
timeouts: {connect: 200ms}
---
{nameless}
upstream: {url: "http://tool.invalid:9000"}
---
{untrusted}
upstream: {url: "https://127.0.0.1:{tool_port}"}
---
{search}
effect: read
timeouts: {connect: 5s, upstream: 60s}
---
{glance}
effect: read
timeouts: {connect: 900ms, upstream: 1s, hold: 0s}
"""


def policies_text(**ports: int) -> str:
    """Return the policies: a name in braces opens its document, a port in braces is filled in."""
    text = POLICIES
    for name, port in ports.items():
        text = text.replace("{" + name + "}", str(port))
    lines = []
    for line in text.splitlines():
        if line.startswith("{") and line.endswith("}"):
            tool = line[1:-1]
            lines += ["apiVersion: holdfast.dev/v1", "kind: ToolPolicy", f"tool: {tool}"]
            if tool in {"search", "glance", "offline"}:
                lines.append(f"match: {{method: [GET, HEAD, POST], path: /tools/{tool}}}")
        else:
            lines.append(line)
    return "\n".join(lines)


def policy_folder(folder: Path, text: str) -> Path:
    """Write policies to a folder of their own and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    written = folder.with_suffix(".new")
    written.write_text(text)
    written.replace(folder / "tools.yaml")  # whole or not at all: somebody may be watching
    return folder


def policy(tool: str, *lines: str) -> str:
    """Return one policy document."""
    return "\n".join(["---", "apiVersion: holdfast.dev/v1", "kind: ToolPolicy", f"tool: {tool}", *lines, ""])


@dataclass
class House:
    """A proxy and the tool behind it."""

    proxy: Proxy
    tool: Tool
    _runs: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def port(self) -> int:
        """The data port."""
        return self.proxy.port

    def run(self) -> str:
        """Return a run id that no other test has."""
        return f"run-{id(self):x}-{next(self._runs)}"

    def ask(self, run: str, *fields: tuple[str, str], script: Script | None = None, **more: str | bytes) -> Answer:
        """Call a tool on a connection of its own and return the answer."""
        return ask(self.port, self.call(run, *fields, script=script, **more), head_only=more.get("method") == "HEAD")

    def call(self, run: str, *fields: tuple[str, str], script: Script | None = None, **more: str | bytes) -> bytes:
        """Return a keyed call that is to be answered by `script`."""
        name = b"" if script is None else self.tool.script(script)
        return call(run, *fields, script=name, **more)  # type: ignore[arg-type]  # each has the type that it has there

    def caller(self) -> Caller:
        """Open a connection."""
        return Caller(self.port)

    def executions(self, run: str) -> list[Execution]:
        """What the tool's own ledger shows for a run."""
        return self.tool.executions(run)


@contextlib.contextmanager
def unaccepting() -> Iterator[int]:
    """Yield a port on which connecting neither succeeds nor fails: its backlog is full (Linux drops the SYN)."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


@contextlib.contextmanager
def house(folder: Path) -> Iterator[House]:
    """Run the shared proxy with its tool."""
    with (
        tools.tool() as tool, unaccepting() as silent, socket.socket() as bound,
    ):  # fmt: skip
        bound.bind(("127.0.0.1", 0))  # bound and not listening: connecting is refused, and nobody else takes the port
        text = policies_text(refused_port=bound.getsockname()[1], silent_port=silent, tool_port=tool.port)
        policies = policy_folder(folder / "policies", text)
        with processes.proxy(folder, policies, tool.url, processes.sqlite_url(folder)) as proxy:
            yield House(proxy, tool)
