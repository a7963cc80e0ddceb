"""Real proxies for tests: started on ports of their own, awaited, looked into, killed by their process id.

What a test wants to know of one, the process says itself: in its log lines, its metrics, its entry in /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from tests.fork_server import Process, forked
from tests.tracked import ROOT

STOP_S = 40.0
PATIENCE_S = 60.0
"""How long a condition may take to come true on a busy machine. Only a test that fails waits for as long."""

DEADLINE, POLL = "UNDER_TEST_STORE_DEADLINE_MS", "UNDER_TEST_POLL_S"
HASTY_MS, PATIENT_MS = 1_000, 10_000
"""The store's deadline: as it is, and for tests that are not about it, where a disk that takes a second is no news."""

BOOT = f"""
import os
from tests.fork_server import die_with
die_with(os.getppid())
from ledger.stores.open import open_store
open_store.__kwdefaults__["deadline_ms"] = int(os.environ.get("{DEADLINE}", {HASTY_MS}))
import proxy.watch
proxy.watch.POLL_S = float(os.environ.get("{POLL}", proxy.watch.POLL_S))
from cli.main import main
main()
"""

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
ANNOUNCED = re.compile(
    r"^holdfast: http://\S+:(\d+) guards .* admin on http://\S+:(\d+); .* on http://\S+:(\d+)$", re.MULTILINE
)
LABEL = re.compile(r'(\w+)="([^"]*)"')

Found = TypeVar("Found")


def until(probe: Callable[[], Found | Literal[False] | None], what: str = "", patience_s: float = PATIENCE_S) -> Found:
    """Ask `probe` until what it says is true, and return that."""
    deadline = time.monotonic() + patience_s
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:.0f} s: {what or probe}")
        time.sleep(0.005)  # polling another process; it has no other way to call
    return found


class Proxy:
    """One `holdfast proxy` process. `folder` takes its output; `arguments` are those of the command; `within` is a
    command that starts another, such as `ip netns exec NAME`; `deadline_ms` is what its store is given; without `polls`
    it hears of what others do when it is told, or not at all. `fresh`: it is not forked, so its command line is its
    own."""

    process: Process

    def __init__(
        self, folder: Path, *arguments: str, within: Sequence[str] = (), deadline_ms: int = HASTY_MS,
        polls: bool = True, fresh: bool = False,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        ports = ("--listen", "--health", "--admin")
        given = ["proxy", *(word for port in ports for word in (port, "127.0.0.1:0")), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), DEADLINE: str(deadline_ms)}
        if not polls:
            environment[POLL] = "3600"
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._from, self._err_from = out.tell(), err.tell()
            if within or fresh:
                command = [*within, sys.executable, "-c", BOOT, *given]
                self.process = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=environment)
            else:
                self.process = forked(BOOT, given, cwd=folder, environment=environment, stdout=out, stderr=err)
        self.pid = self.process.pid

    @property
    def port(self) -> int:
        """The data port, which is open before the store has been reached."""
        return self._ports()[0]

    @property
    def admin_port(self) -> int:
        """The operator's port."""
        return self._ports()[1]

    @property
    def health_port(self) -> int:
        """The port of probes and metrics."""
        return self._ports()[2]

    @property
    def errors(self) -> str:
        """Everything on stderr."""
        return self._err.read_text()

    def lines(self, event: str = "", **fields: Any) -> list[dict[str, Any]]:
        """Return the log lines of this process so far: of one `event`, with these `fields`."""
        with self._out.open("rb") as out:
            out.seek(self._from)
            whole = out.read().rpartition(b"\n")[0].splitlines()
        found: list[dict[str, Any]] = [json.loads(line) for line in whole]
        return [
            line
            for line in found
            if event in {"", line["event"]} and all(line.get(name) == value for name, value in fields.items())
        ]

    def await_line(self, event: str, **fields: Any) -> dict[str, Any]:
        """Return the first such log line, once it is there. Fails if the process ends before it says that."""

        def look() -> dict[str, Any] | None:
            ended = self.process.poll() is not None
            found = self.lines(event, **fields)
            if not found and ended:
                raise AssertionError(
                    f"ended with {self.process.returncode} and never said {event}: {self.errors[-2000:]}"
                )
            return found[0] if found else None

        return until(look, f"{event} {fields}")

    def get(self, path: str) -> tuple[int, str]:
        """Ask the health port; return status and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        total = 0.0
        for sample in SAMPLE.finditer(self.get("/metrics")[1]):
            if sample[1] == name and labels.items() <= dict(LABEL.findall(sample[2] or "")).items():
                total += float(sample[3])
        return total

    def descriptors(self) -> int:
        """Count its open file descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def cpu_s(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def limit_descriptors(self, at_most: int) -> None:
        """Let it open no descriptor beyond this number."""
        resource.prlimit(
            self.pid, resource.RLIMIT_NOFILE, (at_most, resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1])
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, and to nobody else."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone. Does nothing to one that has ended."""
        self.process.kill()
        self.process.wait(STOP_S)

    def wait(self, seconds_max: float = STOP_S) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(seconds_max)

    def _ports(self) -> tuple[int, int, int]:
        def look() -> re.Match[str] | None:
            found = ANNOUNCED.search(self._err.read_text(), self._err_from)
            assert found or self.process.poll() is None, self.errors[-2000:]
            return found

        found = until(look, "the announcement on stderr")
        return int(found[1]), int(found[2]), int(found[3])


@contextlib.contextmanager
def proxy(
    folder: Path,
    policies: Path,
    upstream: str,
    store: str,
    *arguments: str,
    started: bool = True,
    hasty: bool = False,
    polls: bool = True,
    fresh: bool = False,
) -> Iterator[Proxy]:
    """Run a proxy; yield it once it is ready unless `started` is False.

    `hasty` is for tests that wait until a lease has lapsed or the store has not answered: that is the shortest lease
    and the usual deadline. All others have more of both than a busy machine can use up.
    It is killed in the end, whatever the test did to it.
    """
    lease, deadline_ms = ("3s", HASTY_MS) if hasty else ("30s", PATIENT_MS)
    given = ["--policies", str(policies), "--upstream", upstream, "--store", store, "--lease", lease, *arguments]
    process = Proxy(folder, *given, deadline_ms=deadline_ms, polls=polls, fresh=fresh)
    try:
        if started:
            process.await_line("proxy.started")
        yield process
    finally:
        process.kill()


def sqlite_url(folder: Path) -> str:
    """Return the URL of a ledger in `folder`."""
    return f"sqlite://{folder.absolute()}/ledger.db"
