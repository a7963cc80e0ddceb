"""One process that goes and comes back: under one name, at one address, with what it has spent added up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from evaluation.child import Child, ChildDied, child, rooms_environment

READY_S = 60.0
"""For a process to become ready, on a machine where everything starts at once."""

LOOK_S = 0.05
STOP_S = 30.0
"""How long a supervisor waits after SIGTERM: what Kubernetes grants by default."""

TRIES = 10
BACK_OFF_S = 1.0
"""Between the starts of something that dies at once, as when its store is away."""

Kind = Literal["coordinator", "sidecar", "store", "tools", "api"]


class Replica:
    """A process that can be killed, stopped and started again. `ready` says whether it is."""

    def __init__(
        self, kind: Kind, name: str, command: Sequence[str], directory: Path, ready: Callable[[], Awaitable[bool]]
    ) -> None:
        self.kind = kind
        self.name = name
        self._command = command
        self._directory = directory
        self._ready = ready
        self._before_s = 0.0
        self._wanted = self._starting = False
        self._child: Child | None = None
        self._ending = contextlib.ExitStack()

    @property
    def up(self) -> bool:
        """Whether it is there: ready, and not being taken down. What is being started is somebody's work already."""
        return self._wanted and not self._starting

    @property
    def pid(self) -> int | None:
        """Its process, while it is up."""
        return None if self._child is None else self._child.pid

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all its processes, one after the other."""
        return self._before_s + (0.0 if self._child is None else self._child.cpu_s)

    async def insist(self) -> None:
        """Start it as a supervisor does: again if it dies before it is ready. Raises `ChildDied` when that goes on."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(ChildDied):
                return await self.start()
            self.kill()
            await asyncio.sleep(BACK_OFF_S)
        return await self.start()

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raises `ChildDied`."""
        self._wanted = self._starting = True
        command = child(self.name, self._command, self._directory, environ=rooms_environment())
        self._child = running = self._ending.enter_context(command)
        until = time.monotonic() + READY_S
        while not await self._ready():
            running.check()
            if time.monotonic() > until:
                raise ChildDied(f"{self.name} was not ready within {READY_S:g} s")
            await asyncio.sleep(LOOK_S)
        self._starting = False

    async def go(self, how: Literal["kill", "stop"]) -> None:
        """Take it down, as `how` says (see `evaluation.replay.outages.Outage`), and wait until it is."""
        self._wanted = False
        running = self._child
        if running is None:
            return
        if how == "stop":
            await running.stop(STOP_S)
        self.kill()

    def kill(self) -> None:
        """Take it down at once."""
        self._wanted = self._starting = False
        if self._child is not None:
            self._child.kill()
            self._before_s += self._child.cpu_s
            self._child = None
        self._ending.close()

    def death(self) -> str | None:
        """Return how it has ended by itself, if it has since it was ready."""
        return self._child.death() if self.up and self._child is not None else None
