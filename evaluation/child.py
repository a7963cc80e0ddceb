"""The processes that a run of ours starts, and ends by their process ids, whatever happens in between.

Children get a session of their own: a Ctrl-C at the terminal goes to us alone, and we end them in order. What a child
says goes to a file, and into the error when it dies before its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import aiohttp

from evaluation.procfs import cpu_us

POLL_S = 0.005
"""How often readiness is looked for: it bounds the error of a measured cold start."""

END_S = 5.0
"""How long a child may take to end after SIGTERM before it is killed."""

REAP_S = 0.5
"""A dying process closes its connections a moment before it can be asked how it ended."""

STOPPED_S = 0.02
"""How often it is looked whether a child has stopped."""

LAST_LINES = 12
"""How much of a dead child's words an error quotes."""


class ChildDied(Exception):
    """A child ended by itself, or did not become ready in time. The message quotes its last words."""


class Child:
    """A running process with its log."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, started: float) -> None:
        self.name = name
        self.pid = process.pid
        self.started = started
        self._process = process
        self._log = log
        self._cpu_s = 0.0

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the process, and of its children that it has waited for; in all, once it has ended."""
        self._count()
        return self._cpu_s

    def check(self) -> None:
        """Raise `ChildDied` if the process has ended."""
        if death := self.death():
            raise ChildDied(death)

    async def until_ready(self, ready: Callable[[], Awaitable[bool]], within_s: float) -> float:
        """Wait until `ready()`; return the seconds since the start. Raises `ChildDied`."""
        while not await ready():
            self.check()
            if time.monotonic() - self.started > within_s:
                raise ChildDied(f"{self.name} was not ready within {within_s:g} s{self._last_words()}")
            await asyncio.sleep(POLL_S)
        return time.monotonic() - self.started

    def death(self) -> str | None:
        """Return how the process has ended, with its last words; None while it has not."""
        self._count()
        code = self._process.poll()
        return None if code is None else f"{self.name} ended with exit code {code}{self._last_words()}"

    async def until_ended(self, within_s: float) -> int:
        """Ask the process to end, as an orchestrator does (SIGTERM), and wait for it without holding up anybody; return
        its exit code. Raises `ChildDied` when it has not obeyed in time."""
        self._process.terminate()
        deadline = time.monotonic() + within_s
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline:
                raise ChildDied(f"{self.name} did not end within {within_s:g} s{self._last_words()}")
            await asyncio.sleep(POLL_S)
        return code

    def kill(self) -> None:
        """End the process at once, as kill -9 does, and wait for it."""
        self._process.kill()
        self._reap()

    async def stop(self, within_s: float) -> None:
        """End the process as a supervisor does, and wait for it: SIGTERM, and SIGKILL after `within_s`."""
        self._process.terminate()
        until = time.monotonic() + within_s
        while not self._has_ended():  # the kernel tells nobody but who asks
            if time.monotonic() >= until:
                break
            await asyncio.sleep(STOPPED_S)
        self.kill()

    def end(self) -> None:
        """End the process and wait for it: SIGTERM, and SIGKILL when that is not obeyed in time."""
        self._process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        finally:  # also when a second Ctrl-C cuts the wait short
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def _has_ended(self) -> bool:
        """Say whether the process has ended, and leave it to be waited for."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self) -> None:
        """Wait for a process that is ending, and count what it has spent before the kernel forgets it."""
        if self._process.returncode is None:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._count()
            self._process.wait()

    def _count(self) -> None:
        """Take what the kernel counts, as long as it does: until somebody has waited for the process."""
        if self._process.returncode is None:
            self._cpu_s = cpu_us((self.pid,)) / 1e6

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "".join(f"\n    {line}" for line in lines) or ", without a word"


@contextlib.contextmanager
def child(
    name: str,
    command: Sequence[str],
    directory: Path,
    *,
    core: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """Run `command` in `directory`, on `core` alone if one is given, and end it on the way out.

    Raises `ChildDied` when the program cannot be started.
    """
    log = directory / f"{name}.log"
    with log.open("ab") as output, _pinned(core):
        started = time.monotonic()
        try:
            process = subprocess.Popen(  # noqa: S603  # commands are built here, never read from outside
                command,
                cwd=directory,
                env=dict(environ) if environ is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ChildDied(f"{name} cannot be started: {error}") from error
    running = Child(name, process, log, started)
    try:
        yield running
    finally:
        running.end()


@contextlib.contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Keep this thread on `core` for as long as it takes to start a child, which inherits the affinity."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bereaved(children: Sequence[Child], error: Exception) -> ChildDied:
    """Return the error of somebody whose connection to one of `children` broke: what that child said, if it ended."""
    deadline = time.monotonic() + REAP_S
    while time.monotonic() < deadline:
        if deaths := [death for running in children if (death := running.death())]:
            return ChildDied("\n".join(deaths))
        time.sleep(POLL_S)
    return ChildDied(f"a connection broke: {error}")


def rooms_environment() -> dict[str, str]:
    """Return the environment in which a child finds the same rooms as this process, wherever it was started."""
    rooms = str(Path(__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [rooms, os.environ.get("PYTHONPATH", "")]))}


async def answers_200(session: aiohttp.ClientSession, url: str) -> bool:
    """Say whether `url` answers 200 right now; anything else, a refused connection too, is a no."""
    try:
        async with asyncio.timeout(1), session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
