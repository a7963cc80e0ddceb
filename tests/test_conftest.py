"""The rules of the test run itself, shown on a run inside the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tracked import ROOT

TESTS = """
import asyncio, pytest

def loop_room():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

async def test_unmarked():
    assert loop_room() == "uvloop"

@pytest.mark.loops("asyncio", "uvloop")
async def test_both():
    print("ran on", loop_room())

def test_that_is_skipped():
    pytest.skip("the machine lacks something")
"""


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest, with this project's configuration and conftest, on these tests."""
    (folder / "test_inner.py").write_text(TESTS)
    (folder / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(folder), str(folder)]
    compiled = {name: os.environ[name] for name in ("PYTHONPYCACHEPREFIX",) if name in os.environ}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env={**compiled, **environment}
    )


def test_skip_fails_a_run_in_ci_and_only_there(tmp_path: Path) -> None:
    """A machine at home may lack something; CI may not. All else passes: the shipped loop is the default, and a test
    about the loop itself runs once on each."""
    at_home = run(tmp_path)
    assert at_home.returncode == pytest.ExitCode.OK, at_home.stdout
    assert "ran on asyncio" in at_home.stdout
    assert "ran on uvloop" in at_home.stdout
    in_ci = run(tmp_path, CI="true")
    assert in_ci.returncode == pytest.ExitCode.TESTS_FAILED
    assert "3 passed, 1 skipped" in in_ci.stdout
    assert "1 skipped, and this is CI" in in_ci.stdout
