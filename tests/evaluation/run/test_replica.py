"""A replica goes and comes back, under one name, and what it has spent is added up."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

import evaluation.run.replica
from evaluation.child import ChildDied
from evaluation.run.replica import Replica

BUSY = (
    "import os, pathlib, signal, sys, time\n"
    "while time.process_time() < 0.2: pass\n"
    "pathlib.Path('ready').write_text(str(os.getpid()))\n"
    "signal.pause()"
)
FRAIL = "import pathlib, sys\nwith open('tries', 'a') as tries: tries.write('x')\nsys.exit('no store')"


def replica(folder: Path, program: str) -> Replica:
    """Return a replica that runs a program, and is ready once that has written its process id."""

    async def ready() -> bool:
        pid = made.pid
        return (folder / "ready").exists() and (folder / "ready").read_text() == str(pid)

    made = Replica("coordinator", "one", [sys.executable, "-c", program], folder, ready)
    return made


def states(made: Replica) -> tuple[bool, int | None]:
    """Return whether a replica is up, and its process."""
    return made.up, made.pid


def running(pid: int | None) -> bool:
    """Say whether a process is there."""
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_replica_that_went_comes_back(tmp_path: Path, how: str) -> None:
    """As another process; what both have spent is counted."""
    made = replica(tmp_path, BUSY)
    await made.start()
    first = made.pid
    await made.go("kill" if how == "kill" else "stop")
    assert states(made) == (False, None)
    assert not running(first)
    spent_s = made.cpu_s
    assert spent_s > 0
    await made.start()
    assert states(made) == (True, made.pid)
    assert made.pid != first
    assert made.cpu_s > 1.4 * spent_s
    second = made.pid
    made.kill()
    assert not running(second)


async def test_death_of_its_own_is_told_and_one_that_was_meant_is_not(tmp_path: Path) -> None:
    """Somebody has to start it again in the one case, and has it in hand in the other."""
    made = replica(tmp_path, BUSY)
    await made.start()
    assert made.death() is None
    assert made.pid is not None
    os.kill(made.pid, 9)
    await asyncio.to_thread(os.waitid, os.P_PID, made.pid, os.WEXITED | os.WNOWAIT)
    assert "exit code -9" in str(made.death())
    await made.go("kill")
    assert made.death() is None


async def test_replica_that_is_being_started_is_not_up(tmp_path: Path) -> None:
    """Whoever starts it has it in hand: it is neither to be taken down nor to be started by anybody else."""
    made = replica(tmp_path, "import signal; signal.pause()")
    starting = asyncio.create_task(made.start())
    while made.pid is None:  # noqa: ASYNC110  # it is the next thing that happens
        await asyncio.sleep(0)
    assert not made.up
    assert made.death() is None
    (tmp_path / "ready").write_text(str(made.pid))
    await starting
    assert states(made) == (True, made.pid)
    made.kill()


async def test_start_is_insisted_on_as_a_supervisor_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What dies before it is ready is started again, and given up with its last words when that goes on."""
    monkeypatch.setattr(evaluation.run.replica, "BACK_OFF_S", 0)
    monkeypatch.setattr(evaluation.run.replica, "TRIES", 3)
    made = replica(tmp_path, FRAIL)
    with pytest.raises(ChildDied, match="no store"):
        await made.insist()
    assert (tmp_path / "tries").read_text() == "xxx"
    made.kill()
