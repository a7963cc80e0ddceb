"""Libraries that are too old are told apart before they do harm."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import pytest

from process import floors
from process.floors import FLOORS, release, shortfalls


def test_environment_as_locked_has_no_shortfall() -> None:
    """What the locks install is fit to run."""
    assert shortfalls() == []


@pytest.mark.parametrize("floor", FLOORS, ids=lambda floor: floor.library)
def test_version_just_below_its_floor_is_a_shortfall_that_names_the_remedy(
    floor: floors.Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One version too old is reported with the fault that it has and the command that mends it."""
    *head, last = floor.oldest
    older = (*head[:-1], head[-1] - 1, 99) if last == 0 else (*head, last - 1)
    monkeypatch.setattr(
        floors, "installed", lambda name: ".".join(map(str, older)) if name == floor.library else metadata.version(name)
    )
    (shortfall,) = shortfalls()
    assert shortfall.library == floor.library
    assert floor.why in shortfall.message
    assert ".".join(map(str, floor.oldest)) in shortfall.remedy


def test_library_that_is_not_installed_is_a_shortfall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Absence is reported like age, not as a traceback."""
    monkeypatch.setattr(floors, "FLOORS", (floors.Floor("no-such-library", (1,), "it is needed"),))
    assert "not installed" in shortfalls()[0].message


def test_pure_python_parser_is_a_shortfall() -> None:
    """aiohttp without its C extension is refused, whatever its version."""
    program = "from process.floors import shortfalls; print(*(s.message for s in shortfalls()))"
    environment = os.environ | {"AIOHTTP_NO_EXTENSIONS": "1"}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert "pure-Python" in ended.stdout


@pytest.mark.parametrize(
    ("version", "numbers"), [("3.14.4", (3, 14, 4)), ("3.14.4rc1", (3, 14, 4)), ("0.23.0.post1", (0, 23, 0)), ("x", ())]
)
def test_release_is_the_numbers_that_a_version_starts_with(version: str, numbers: tuple[int, ...]) -> None:
    """Suffixes do not count; a version without numbers is older than any floor."""
    assert release(version) == numbers
