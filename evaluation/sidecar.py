"""`holdfast proxy` as its users start it: a command line, in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from msgspec import Struct

from evaluation.address import Address, unused_address
from evaluation.child import Child, answers_200, child, rooms_environment

POLICIES = Path(__file__).resolve().parent.parent / "policies"
"""The policies that Holdfast ships."""


class Sidecar(Struct, frozen=True):
    """A proxy that is ready, and the seconds that it took to become so."""

    process: Child
    address: Address
    health: Address
    started_in_s: float


@contextlib.asynccontextmanager
async def sidecar(
    session: aiohttp.ClientSession,
    directory: Path,
    upstream: Address,
    store: str,
    *,
    ready_s: float,
    name: str = "holdfast-proxy",
    core: int | None = None,
    policies: Path = POLICIES,
) -> AsyncIterator[Sidecar]:
    """Run a proxy in front of `upstream`. Raises `ChildDied` when it does not become ready."""
    address, health, admin = unused_address(), unused_address(), unused_address()
    command = [sys.executable, "-m", "cli.main", "proxy", "--policies", str(policies), "--upstream", upstream.url]
    command += ["--listen", str(address), "--health", str(health), "--admin", str(admin)]
    command += ["--store", store]
    with child(name, command, directory, core=core, environ=rooms_environment()) as process:
        ready = functools.partial(answers_200, session, f"{health.url}/readyz")
        yield Sidecar(process, address, health, await process.until_ready(ready, ready_s))
