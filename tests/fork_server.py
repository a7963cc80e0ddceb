"""Processes of ours for tests, forked from one that has imported what they need: that saves each of several hundred
half a second of processor time.

Until it is forked that one has no thread and no event loop, so that nothing is shared but code. What forks is its own
process in every way that a test looks at: descriptors, folder, environment, signals, end. (`multiprocessing` has such a
server, which imports the test runner into each process as well.)
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.tracked import ROOT

PRELOADED = (
    "cli.main", "cli.proxy", "cli.coordinator", "cli.simulate", "proxy.app", "coordinator.app", "ledger.stores.redis",
    "ledger.stores.sqlite", "coordinator.stores.redis", "coordinator.stores.sqlite",
)  # fmt: skip
REQUEST_BYTES_MAX = 1 << 20
PR_SET_PDEATHSIG = 1
FORKS = hasattr(os, "pidfd_open")
"""Elsewhere than on Linux each process is started anew."""


class Forked:
    """A process, as `subprocess.Popen` would have it."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._end = end

    def poll(self) -> int | None:
        """Return how it has ended, if it has: its exit code, or a signal's number below 0."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code. Raises `subprocess.TimeoutExpired`."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to it; nothing if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, within_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], within_s)[0]:
            told = self._end.recv(8)
            assert told, "the fork server has ended"
            self.returncode = int(told)
            self._end.close()
        return self.returncode


Process = Forked | subprocess.Popen[bytes]


def forked(
    run: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> Process:
    """Start a process that runs the Python text `run`, with these arguments. Its standard input is empty."""
    if not FORKS:
        command = [sys.executable, "-c", run, *arguments]
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # pid and exit code are a message each
    with theirs:
        request = json.dumps([run, list(arguments), str(cwd), dict(environment)]).encode()
        socket.send_fds(_server(), [request], [stdout.fileno(), stderr.fileno(), theirs.fileno()])
    return Forked(int(ours.recv(16)), ours)


def run_to_end(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], within_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a `holdfast` command that is expected to end by itself, in `folder`; return what it said."""
    with TemporaryFile() as out, TemporaryFile() as err:
        process = forked(
            "from cli.main import main\nmain()", command, cwd=folder, environment={**os.environ, **environment},
            stdout=out, stderr=err,
        )  # fmt: skip
        try:
            code = process.wait(within_s)
        finally:
            process.kill()
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(command, code, *said)


_servers: dict[int, socket.socket] = {}


def _server() -> socket.socket:
    """Return the way to this process's server, which is started when it is first asked for."""
    if os.getpid() not in _servers:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES_MAX)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()], cwd=ROOT, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        _servers[os.getpid()] = ours
        atexit.register(_end, process, ours)
    return _servers[os.getpid()]


def _end(process: subprocess.Popen[bytes], way: socket.socket) -> None:
    way.close()
    process.wait()


def die_with(parent: int) -> None:
    """Have this process killed with `parent`, which started it: a test run that is killed takes its processes along
    (prctl(2); elsewhere than on Linux it does not)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died already, which nobody tells us any more
            os.kill(os.getpid(), signal.SIGKILL)


def serve(way: socket.socket) -> Callable[[], None]:
    """Fork what is asked for. Returns only in what was forked, with what to do there, or when nobody asks any more."""
    waited: dict[int, tuple[int, socket.socket]] = {}
    ourselves = os.getpid()
    while True:
        for ready in select.select([way.fileno(), *waited], [], [])[0]:
            if ready != way.fileno():
                pid, end = waited.pop(ready)
                os.close(ready)
                with end, contextlib.suppress(OSError):  # nobody waits for it
                    end.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                continue
            request, descriptors, *_ = socket.recv_fds(way, REQUEST_BYTES_MAX, 3)
            if not request:
                return lambda: None
            out, err, told = descriptors
            if (pid := os.fork()) == 0:
                for descriptor, other in waited.items():
                    os.close(descriptor)
                    other[1].close()
                way.close()
                os.close(told)
                die_with(ourselves)
                return _become(request, out, err)
            end = socket.socket(fileno=told)
            end.send(b"%d" % pid)
            waited[os.pidfd_open(pid)] = pid, end
            os.close(out)
            os.close(err)


def _become(request: bytes, out: int, err: int) -> Callable[[], None]:
    run, arguments, folder, environment = json.loads(request)
    for descriptor, standard in ((out, 1), (err, 2)):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    return lambda: exec(run, {"__name__": "__main__"})


if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    for module in PRELOADED:
        importlib.import_module(module)
    serve(socket.socket(fileno=int(sys.argv[1])))()
