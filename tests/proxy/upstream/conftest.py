"""A forward to try and a tool to try it on, on both event loops, and a look at what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from proxy.forward import Origin
from proxy.upstream.pool import Upstream
from tests.proxy.upstream.hostile import Script, Tool, until

StartTool = Callable[..., Coroutine[Any, Any, tuple[Tool, Origin]]]


def sockets() -> int:
    """Count this process's open sockets; what else an event loop opens, it opens when it pleases."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor that lists the others
            count += str(descriptor.readlink()).startswith("socket:")
    return count


@pytest.fixture
async def nothing_leaks() -> AsyncIterator[None]:
    """Sockets and tasks return to where they were (I8)."""
    tasks, before = asyncio.all_tasks(), sockets()
    yield
    await until(lambda: sockets() <= before)
    await until(lambda: not asyncio.all_tasks() - tasks - {asyncio.current_task()})


@pytest.fixture
async def tool(nothing_leaks: None) -> AsyncIterator[StartTool]:
    """Start tools by their scripts; they stop with the test."""
    started: list[Tool] = []

    async def start(*scripts: Script, **more: Any) -> tuple[Tool, Origin]:
        hostile = Tool(*scripts, **more)
        started.append(hostile)
        return hostile, await hostile.start()

    yield start
    for hostile in started:
        await hostile.stop()


@pytest.fixture
async def upstream(tool: StartTool) -> AsyncIterator[Upstream]:
    """A forward of its own for each test."""
    forward = Upstream()
    yield forward
    await forward.close()
    assert forward.stats.open == forward.stats.idle == 0
