"""The systems of the comparison stand, and what goes through them arrives."""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
import pytest

from evaluation.bench import systems
from evaluation.bench.closed_loop import ClosedLoop
from evaluation.bench.shape import READ, Calls
from evaluation.bench.systems import NAMES, choose_cores, stand


async def test_every_system_passes_the_same_calls_on(tmp_path: Path) -> None:
    """Each system answers new keys and reads as the tool does; all but the tool have processes to be counted."""
    async with aiohttp.ClientSession() as session, stand(session, tmp_path, choose_cores(), NAMES) as standing:
        assert {system.name for system in standing.systems} | standing.missing.keys() == set(NAMES)
        for system in standing.systems:
            for status, request in ((201, Calls(f"run_{system.name}").new()), (200, READ)):
                pending = iter([request])
                load = ClosedLoop(system.address, status)
                await load.connect(1)
                timings = await load.run(lambda: next(pending, None), 1, 1, seconds=20)  # noqa: B023  # ends in here
                load.close()
                assert len(timings.latencies_s) == 1
            assert bool(system.pids) == (system.name != "direct")
        async with session.get(f"{standing.tool.url}/_bench/executions") as response:
            assert int(await response.read()) == len(standing.systems)


async def test_system_without_its_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nginx and Redis are missing the others stand, and the report can say why these do not."""
    monkeypatch.setattr(systems, "system_path", lambda: "/nowhere")
    monkeypatch.setattr(systems, "redis_server", lambda: None)
    async with (
        aiohttp.ClientSession() as session,
        stand(session, tmp_path, choose_cores(), ("nginx", "redis")) as found,
    ):
        assert [system.name for system in found.systems] == ["direct"]
        assert found.missing.keys() == {"nginx", "redis"}


def test_server_has_a_core_of_its_own_where_there_are_two() -> None:
    """The server under test shares its core only where there is one."""
    cores = choose_cores()
    assert (cores.server == cores.other) == (len(os.sched_getaffinity(0)) == 1)
