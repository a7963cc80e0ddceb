"""What is said about a machine, from the numbers that it gives."""

from __future__ import annotations

import resource

import pytest

from cli.checkup import machine
from process.floors import Shortfall


def test_interpreter_before_3_11_is_an_error() -> None:
    """Holdfast uses `asyncio.timeout`, which 3.11 brought."""
    assert machine.python((3, 10, 14)).severity == "error"
    assert machine.python((3, 11, 0)).severity == "ok"


@pytest.mark.parametrize(("limit", "severity"), [(1024, "warning"), (4096, "ok"), (resource.RLIM_INFINITY, "ok")])
def test_few_file_descriptors_are_a_warning(limit: int, severity: str) -> None:
    """The usual 1024 runs out at some 500 calls under way."""
    assert machine.file_descriptors(limit).severity == severity


def test_clock_that_was_never_set_is_an_error() -> None:
    """A machine that boots without a clock says 1970."""
    assert machine.clock(0.0).severity == "error"
    assert machine.clock(machine.BUILT_S + 1.0).severity == "ok"


def test_library_below_its_floor_is_an_error_with_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor tells what the proxy would refuse to start with."""
    short = Shortfall("uvloop", "uvloop is 0.22.1, older than 0.23.0", "pip install 'uvloop>=0.23.0'")
    monkeypatch.setattr(machine, "shortfalls", lambda: [short])
    (finding,) = machine.libraries()
    assert (finding.severity, finding.message, finding.remedy) == ("error", short.message, short.remedy)
