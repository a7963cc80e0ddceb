"""What is restarted: sidecars and coordinators, each at an address that stays its own, of one version, then another."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from pathlib import Path

import aiohttp
from msgspec import Struct

from evaluation.address import Address
from evaluation.child import Child, answers_200, child

READY_S = 60.0
END_S = 60.0
"""Far beyond what either needs: a loaded machine is no reason to fail."""
HERE = Path(__file__).resolve().parents[2]
"""The version that this file belongs to: a checkout, or where the wheel was put."""


class Restart(Struct, frozen=True):
    """One replica, asked to end and started again: its exit code, and the seconds that it was away."""

    name: str
    code: int
    away_s: float


class Replica:
    """One of them. `words` are its command and its flags; `ready` answers 200 once it takes work."""

    def __init__(self, name: str, words: list[str], ready: str, policies: bool = True) -> None:
        self.name = name
        self._words = words
        self._ready = ready
        self._policies = policies
        self._times = 0
        self._running: contextlib.ExitStack | None = None
        self._child: Child | None = None

    async def start(self, session: aiohttp.ClientSession, folder: Path, rooms: Path = HERE) -> None:
        """Start it, of the version whose files are in `rooms`, and wait until it is ready. Raises `ChildDied`."""
        self._times += 1
        policies = ["--policies", str(rooms / "policies")] if self._policies else []
        environ = {**os.environ, "PYTHONPATH": str(rooms)}
        self._running = contextlib.ExitStack()
        self._child = self._running.enter_context(
            child(
                f"{self.name}-{self._times}", [sys.executable, "-m", "cli.main", *self._words, *policies], folder,
                environ=environ,
            )
        )  # fmt: skip
        await self._child.until_ready(functools.partial(answers_200, session, self._ready), READY_S)

    async def restart(self, session: aiohttp.ClientSession, folder: Path) -> Restart:
        """End it as an orchestrator does, and start this version in its place. Raises `ChildDied`."""
        assert self._child is not None
        code = await self._child.until_ended(END_S)
        ended = time.monotonic()
        await self.start(session, folder)
        return Restart(self.name, code, round(time.monotonic() - ended, 3))

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._running is not None:
            self._running.close()


def sidecar(name: str, at: Address, health: Address, tools: Address, store: str) -> Replica:
    """Return a sidecar in front of `tools`."""
    words = [
        "proxy", "--upstream", tools.url, "--listen", str(at), "--health", str(health), "--admin", "127.0.0.1:0",
        "--store", store,
    ]  # fmt: skip
    return Replica(name, words, f"{health.url}/readyz")


def coordinator(name: str, at: Address, assistants: Address, proxy: Address, store: str) -> Replica:
    """Return a coordinator that calls tools through the sidecar at `proxy`."""
    words = [
        "coordinator", "--assistants", f"{assistants.url}/v1", "--proxy", proxy.url, "--listen", str(at),
        "--store", store,
    ]  # fmt: skip
    return Replica(name, words, f"{at.url}/readyz")
