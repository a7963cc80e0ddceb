"""Whole replays, on real processes: everything is started, hit, followed, written down and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from evaluation.child import rooms_environment
from evaluation.replay.outages import Killed, Outages, Restarted
from evaluation.replay.plan import FaultsPlan, read_plan
from evaluation.replay.records import (
    CALLS,
    EFFECTS,
    OUTCOMES,
    STEPS,
    Call,
    Outcome,
    Step,
    folder,
    is_done,
    pair_folder,
    read_lines,
    read_usage,
)
from evaluation.replay.truth import executions, intended, observed, tally
from evaluation.replay.turns import Turn
from evaluation.replay.workload import Shape, workload
from evaluation.run.calm import calmed
from evaluation.run.matrix import Matrix, make_plan, shares_of
from evaluation.scripts import Range
from evaluation.tools.audit import effects_in
from tests.redis_server import any_server

pytestmark = pytest.mark.system

SOON = Shape(seed=1, conversations_per_s=20, thought=Range(1, 5), soon=Range(0.2, 2))
HURT = Outages(Killed(720, Range(0.2, 0.5)), Killed(720, Range(0.2, 0.5)), Restarted(360, Range(0.2, 0.5)))
"""As many a minute as an hour has in earnest."""


def of(out: Path, turns: list[Turn], faults: FaultsPlan, variants: tuple[str, ...], *, pair: bool = False) -> Matrix:
    """Return a replay in staging."""
    shares = shares_of(turns, ["staging"])
    plan = make_plan(shares, faults, seed=1, pace=2, variants=variants, pair=pair)
    return Matrix(out, plan, shares, faults)


async def test_variant_is_replayed_while_its_processes_go(tmp_path: Path) -> None:
    """Every turn has its outcome, every effect its call, and what was started has ended; Holdfast, whose coordinators,
    sidecars and store are killed meanwhile, executes no call twice and loses no effect without saying so."""
    any_server()
    turns = workload(SOON, 120)
    await of(tmp_path, turns, replace(calmed(read_plan()), outages=HURT), ("E",)).run()
    directory = tmp_path / folder("staging", "E")
    assert is_done(directory)
    outcomes = list(read_lines(directory / OUTCOMES, Outcome))
    assert sorted(outcome.turn for outcome in outcomes) == sorted(turn.id for turn in turns)
    assert {outcome.status for outcome in outcomes} == {"completed"}
    effects = list(effects_in(directory / EFFECTS))
    assert executions(effects).repeated == 0
    steps = list(read_lines(directory / STEPS, Step))
    calls = list(read_lines(directory / CALLS, Call))
    assert {step.turn for step in steps} <= {turn.id for turn in turns}
    assert {effect.tool_call_id for effect in effects} <= {call.tool_call_id for call in calls}
    told = sum(call.output_outcome != "result" for call in calls)
    assert tally(observed(effects), intended(turns)).missing <= told
    usage = read_usage(directory)
    assert usage.cpu_s.keys() == {"api", "coordinator", "driver", "sidecar", "store", "tools"}
    assert min(usage.cpu_s.values()) > 0
    assert usage.store_ops > len(turns)
    assert sum(usage.outages.values()) > 0


async def test_pair_is_replayed_side_by_side(tmp_path: Path) -> None:
    """The same turns to both, none of which fails, in folders of their own; what is done is not replayed again."""
    any_server()
    turns = workload(SOON, 60)
    matrix = of(tmp_path, turns, read_plan(), (), pair=True)
    await matrix.run()
    for name in ("B", "C"):
        directory = tmp_path / pair_folder("staging", name)
        assert is_done(directory)
        outcomes = list(read_lines(directory / OUTCOMES, Outcome))
        assert {outcome.status for outcome in outcomes} == {"completed"}
        assert {outcome.turn for outcome in outcomes} == {turn.id for turn in turns}


def descendants(pid: int) -> set[int]:
    """Return the processes that a process has started, and theirs."""
    found: set[int] = set()
    for one in Path("/proc").iterdir():
        try:
            stat = (one / "stat").read_text()
        except OSError:
            continue
        if one.name.isdecimal() and int(stat.rpartition(")")[2].split()[1]) == pid:
            found |= {int(one.name)} | descendants(int(one.name))
    return found


async def begun(out: Path) -> tuple[asyncio.subprocess.Process, set[int]]:
    """Start the command on a long replay; return it, and what it has started, once turns have ended."""
    any_server()
    command = ["-m", "cli.main", "evaluate", "--turns", "2000", "--out", str(out), "--variants", "E"]
    running = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=rooms_environment(), stderr=asyncio.subprocess.PIPE
    )
    outcomes = out / folder("staging", "E") / OUTCOMES
    async with asyncio.timeout(120):
        while not (outcomes.exists() and descendants(running.pid)):  # noqa: ASYNC110  # files tell nobody
            await asyncio.sleep(0.05)
    started = descendants(running.pid)
    assert len(started) >= 9
    return running, started


async def ended(running: asyncio.subprocess.Process, started: set[int]) -> str:
    """Wait for the command, see that nothing of what it has started is left, and return what it said."""
    _, told = await asyncio.wait_for(running.communicate(), 60)
    assert not [pid for pid in started if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110  # no file, a process
    return told.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_replay_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    """All that it has started has ended when it has, and the folder can be gone on with."""
    running, started = await begun(tmp_path / "out")
    running.send_signal(number)
    told = await ended(running, started)
    assert running.returncode == 1, told
    assert not is_done(tmp_path / "out" / folder("staging", "E"))


async def test_replay_whose_simulator_dies_is_given_up(tmp_path: Path) -> None:
    """Nothing that it would go on to record were true; the error says who died, and that it can be gone on with."""
    running, started = await begun(tmp_path / "out")
    (api,) = (pid for pid in started if b"assistants" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
    os.kill(api, signal.SIGKILL)
    told = await ended(running, started)
    assert running.returncode == 5, told
    assert "--resume" in told
    assert "Traceback" not in told
