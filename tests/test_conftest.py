"""The rules of the test run itself, shown on a run inside the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracked import ROOT

SKIPPING = "import pytest\n\n\ndef test_that_is_skipped():\n    pytest.skip('the machine lacks something')\n"
LOOPS = """
import asyncio, pytest

def loop_room():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

async def test_unmarked():
    assert loop_room() == "uvloop"

@pytest.mark.loops("asyncio", "uvloop")
async def test_both():
    print("ran on", loop_room())
"""


def run(folder: Path, test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest, with this project's configuration and conftest, on one file of its own."""
    (folder / "test_inner.py").write_text(test)
    (folder / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(folder), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_skip_fails_a_run_in_ci_and_only_there(tmp_path: Path) -> None:
    """A machine at home may lack something; CI may not."""
    assert run(tmp_path, SKIPPING).returncode == pytest.ExitCode.OK
    in_ci = run(tmp_path, SKIPPING, CI="true")
    assert in_ci.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 skipped, and this is CI" in in_ci.stdout


def test_tests_run_on_uvloop_and_marked_ones_on_what_they_name(tmp_path: Path) -> None:
    """The shipped loop is the default; a test about the loop itself runs once on each."""
    ended = run(tmp_path, LOOPS)
    assert ended.returncode == pytest.ExitCode.OK, ended.stdout
    assert "ran on asyncio" in ended.stdout
    assert "ran on uvloop" in ended.stdout
