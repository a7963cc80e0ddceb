"""The wheel is what users get: built from the archive that we would publish, installed where there is nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.tracked import ROOMS, ROOT, tracked_files

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy of the tracked files: what nobody committed is not shipped by accident."""
    checkout, dist = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for path in tracked_files():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, checkout / path)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(checkout)]
    ended = subprocess.run(build, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what the lock says it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements" / "run.txt")], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return folder


def run(installed: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command far away from the checkout."""
    environment = {"PATH": os.defpath, "HOME": str(installed)}
    command = [str(installed / "bin" / args[0]), *args[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=installed, env=environment)


def test_installed_command_tells_its_version(installed: Path) -> None:
    """The console script is there, finds its modules, and knows which release it is."""
    ended = run(installed, "holdfast", "--version")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("holdfast 0.")


def test_locked_libraries_satisfy_what_the_wheel_asks_for(installed: Path) -> None:
    """The floors of the metadata and the pins of the lock agree."""
    ended = run(installed, "python", "-m", "pip", "check")
    assert ended.returncode == 0, ended.stdout


def test_shipped_policies_are_in_the_wheel_and_pass_their_own_check(installed: Path) -> None:
    """The worked examples come with the program, and `policy check` has nothing to say against them."""
    (policies,) = installed.glob("lib/python3.*/site-packages/policies")
    assert (policies / "create_ticket.yaml").exists()
    ended = run(installed, "holdfast", "policy", "check", str(policies))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_subcommand_of_the_installed_program_can_be_loaded(installed: Path) -> None:
    """No module that a subcommand needs was left out of the wheel."""
    for name in ("proxy", "policy", "doctor", "demo"):
        ended = run(installed, "holdfast", name, "--help")
        assert ended.returncode == 0, ended.stderr


def test_doctor_finds_the_fresh_environment_fit(installed: Path) -> None:
    """What a user asks first after installing: is it in order?"""
    ended = run(installed, "holdfast", "doctor", "-o", "jsonl")
    assert '"check":"libraries","severity":"ok"' in ended.stdout, ended.stdout + ended.stderr


def test_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path) -> None:
    """Lua, schemas and policies are shipped; tests, locks and caches are not."""
    import zipfile

    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {str(path) for path in tracked_files() if path.parts[0] in ROOMS}
    assert shipped == expected
