"""Children are ended whatever happens, and their last words are passed on."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import evaluation.child
from evaluation.child import Child, ChildDied, bereaved, child


def python(program: str) -> list[str]:
    """Return the command that runs `program`."""
    return [sys.executable, "-c", program]


def running(pid: int) -> bool:
    """Say whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def never() -> bool:
    """Answer that nothing is ready."""
    return False


async def test_child_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """A child that ends before it is ready is an error that quotes its exit code and what it said."""
    with (
        child("frail", python("import sys; sys.exit('the disk is on fire')"), tmp_path) as frail,
        pytest.raises(ChildDied, match=r"(?s)frail ended with exit code 1.*the disk is on fire"),
    ):
        await frail.until_ready(never, 20)


async def test_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    """Waiting for readiness is bounded."""
    with (
        child("idle", python("import signal; signal.pause()"), tmp_path) as idle,
        pytest.raises(ChildDied, match=r"idle was not ready within 0.05 s"),
    ):
        await idle.until_ready(never, 0.05)


def test_missing_program_is_reported(tmp_path: Path) -> None:
    """A program that is not there is an error that names it."""
    with pytest.raises(ChildDied, match="ghost cannot be started"), child("ghost", ["/nowhere/ghost"], tmp_path):
        pass


def test_child_is_ended_when_the_block_fails(tmp_path: Path) -> None:
    """An exception, a Ctrl-C too, leaves no process behind."""
    started: list[Child] = []

    def interrupted() -> None:
        with child("idle", python("import signal; signal.pause()"), tmp_path) as idle:
            started.append(idle)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not running(started[0].pid)


async def test_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not obey is killed after its time."""
    monkeypatch.setattr(evaluation.child, "END_S", 0.1)
    deaf = python(
        "import signal, pathlib; signal.signal(15, signal.SIG_IGN); pathlib.Path('deaf').touch(); signal.pause()"
    )

    async def is_deaf() -> bool:
        return (tmp_path / "deaf").exists()

    with child("deaf", deaf, tmp_path) as process:
        await process.until_ready(is_deaf, 20)
    assert not running(process.pid)


def test_child_is_out_of_reach_of_the_terminals_interrupt(tmp_path: Path) -> None:
    """A child has a process group of its own: a Ctrl-C goes to us, who end it in order."""
    with child("idle", python("import signal; signal.pause()"), tmp_path) as idle:
        assert os.getpgid(idle.pid) != os.getpgid(0)


def test_child_runs_on_its_core_and_we_where_we_did(tmp_path: Path) -> None:
    """A pinned child inherits its core from the start; our own affinity is as before."""
    before = os.sched_getaffinity(0)
    core = max(before)
    with child("pinned", python("import signal; signal.pause()"), tmp_path, core=core) as pinned:
        assert os.sched_getaffinity(pinned.pid) == {core}
    assert os.sched_getaffinity(0) == before


def test_broken_connection_is_explained_by_the_child_that_died(tmp_path: Path) -> None:
    """Who loses a connection learns which child ended and what it said."""
    with child("frail", python("import sys; sys.exit('the disk is on fire')"), tmp_path) as frail:
        error = bereaved([frail], ConnectionResetError("reset"))
    assert "the disk is on fire" in str(error)


def test_broken_connection_with_everybody_alive_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no child has ended, the connection's own error is what there is to say."""
    monkeypatch.setattr(evaluation.child, "REAP_S", 0.02)
    with child("idle", python("import signal; signal.pause()"), tmp_path) as idle:
        assert "reset" in str(bereaved([idle], ConnectionResetError("reset")))


async def test_child_that_is_asked_to_end_says_how_it_did(tmp_path: Path) -> None:
    """Its exit code comes back, and one that does not obey in time is an error; it is ended all the same."""
    obeys = "import signal, sys; signal.signal(15, lambda *_: sys.exit(3)); print('up', flush=True); signal.pause()"
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    for name, program in (("obeys", obeys), ("deaf", deaf)):
        with child(name, python(program), tmp_path) as one:

            async def up(log: Path = tmp_path / f"{name}.log") -> bool:
                return "up" in log.read_text()

            await one.until_ready(up, 60)
            if name == "obeys":
                assert await one.until_ended(60) == 3
            else:
                with pytest.raises(ChildDied, match="deaf did not end within 0.05 s"):
                    await one.until_ended(0.05)
                one.kill()


BUSY = (
    "import pathlib, signal, time\nwhile time.process_time() < 0.3: pass\npathlib.Path('busy').touch()\nsignal.pause()"
)


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_what_a_child_has_spent_is_known_after_its_end(tmp_path: Path, how: str) -> None:
    """Its CPU time is counted up to the end, however it ends, and no longer."""
    with child("busy", python(BUSY), tmp_path) as busy:
        await busy.until_ready(_is_there(tmp_path / "busy"), 60)
        assert busy.cpu_s >= 0.25
        if how == "kill":
            busy.kill()
        else:
            await busy.stop(60)
        assert not running(busy.pid)
    assert 0.25 <= busy.cpu_s < 60


async def test_child_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    """As its supervisor would."""
    deaf = python(
        "import signal, pathlib; signal.signal(15, signal.SIG_IGN); pathlib.Path('deaf').touch(); signal.pause()"
    )
    with child("deaf", deaf, tmp_path) as running_child:
        await running_child.until_ready(_is_there(tmp_path / "deaf"), 60)
        await running_child.stop(0.05)
        assert not running(running_child.pid)


def _is_there(path: Path) -> Callable[[], Awaitable[bool]]:
    async def is_there() -> bool:
        return path.exists()

    return is_there
