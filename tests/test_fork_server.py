"""Forked processes behave as started ones do, as far as a test looks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import fork_server
from tests.fork_server import Process, forked
from tests.proxy.processes import until
from tests.tracked import ROOT

TELL = """
import json, os, random, sys
open_now = os.listdir("/proc/self/fd")
print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), sys.stdin.read(), random.random(), open_now]))
print("no", file=sys.stderr)
sys.exit(3)
"""
SLEEP = "import time\ntime.sleep(600)"


def start(folder: Path, name: str, run: str, *arguments: str) -> Process:
    """Start it, with its output in a file of that name."""
    with (folder / name).open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        return forked(run, arguments, cwd=folder, environment={"ONLY": "this"}, stdout=out, stderr=err)


def test_process_has_what_it_was_given_and_nothing_else(tmp_path: Path) -> None:
    """Arguments, folder, environment, an empty input, two outputs and no other descriptor, and chance of its own."""
    first, second = (start(tmp_path, name, TELL, "a", "b c") for name in ("first", "second"))
    assert [process.wait(60) for process in (first, second)] == [3, 3]
    told = [json.loads((tmp_path / name).read_text()) for name in ("first", "second")]
    for arguments, folder, environment, given, _, descriptors in told:
        assert (arguments, folder, environment, given) == (["a", "b c"], str(tmp_path), {"ONLY": "this"}, "")
        assert len(descriptors) == 4  # and the folder that was listed
    assert told[0][4] != told[1][4]
    assert (tmp_path / "first.err").read_text() == "no\n"


def test_process_is_started_where_none_can_be_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux: it costs more, and is the same."""
    monkeypatch.setattr(fork_server, "FORKS", False)
    process = start(tmp_path, "out", TELL, "a", "b c")
    assert isinstance(process, subprocess.Popen)
    assert process.wait(60) == 3
    arguments, folder, environment, given, *_ = json.loads((tmp_path / "out").read_text())
    assert (arguments, folder, environment["ONLY"], given) == (["a", "b c"], str(tmp_path), "this", "")


def test_process_that_ends_at_once_is_told_of_in_two_messages(tmp_path: Path) -> None:
    """Its pid, and how it ended: neither is taken for a part of the other."""
    processes = [start(tmp_path, "out", f"import os\nos._exit({code})") for code in range(50)]
    assert [process.wait(60) for process in processes] == list(range(50))
    assert len({process.pid for process in processes}) == 50


@pytest.mark.parametrize("forks", [True, False])
def test_end_is_told_once_it_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, forks: bool) -> None:
    """Not before; a signal by its number below 0, and again when it is asked for again."""
    monkeypatch.setattr(fork_server, "FORKS", forks)
    process = start(tmp_path, "out", SLEEP)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.terminate()
    assert process.wait(60) == process.poll() == process.wait() == -signal.SIGTERM
    process.kill()
    other = start(tmp_path, "out", SLEEP)
    os.kill(other.pid, signal.SIGKILL)
    assert other.wait(60) == -signal.SIGKILL


def test_processes_die_with_whoever_had_them_started(tmp_path: Path) -> None:
    """A test run that is killed leaves nothing behind."""
    script = f"""
import sys, time
from pathlib import Path
from tests.test_fork_server import SLEEP, start
print(start(Path({str(tmp_path)!r}), "out", SLEEP).pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        run.kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), f"{pid} is gone")
