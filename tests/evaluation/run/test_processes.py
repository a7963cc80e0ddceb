"""What is started for each variant in each environment, and what each process is told."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from evaluation.address import Address
from evaluation.assistants.script import read_script as read_runs_script
from evaluation.replay.plan import read_plan, runs_script, tools_script
from evaluation.run.environments import ENVIRONMENTS
from evaluation.run.processes import Layout, System, lay_out
from evaluation.tools.script import read_script as read_tools_script
from evaluation.variants.table import by_name

FAULTS = read_plan()


def laid_out(work: Path, variant: str, environment: str, launcher: tuple[str, ...] = ()) -> Layout:
    """Lay a variant out, on ports of its own."""
    ports = itertools.count(20_000)
    system = System(by_name(variant), ENVIRONMENTS[environment], FAULTS, 4, 22.5, launcher)
    return lay_out(system, work, lambda: Address("127.0.0.1", next(ports)))


@pytest.mark.parametrize(
    ("variant", "environment", "kinds"),
    [
        ("A", "staging", {"api": 1, "tools": 1, "coordinator": 3}),
        ("B", "staging", {"store": 1, "api": 1, "tools": 1, "coordinator": 3}),
        ("C", "pre-prod", {"store": 2, "api": 1, "tools": 1, "coordinator": 4, "sidecar": 4}),
        ("E", "staging", {"store": 1, "api": 1, "tools": 1, "coordinator": 3, "sidecar": 3}),
    ],
)
def test_variant_has_its_processes(tmp_path: Path, variant: str, environment: str, kinds: dict[str, int]) -> None:
    """No two listen at the same address, and who sends turns finds all instances."""
    layout = laid_out(tmp_path, variant, environment)
    assert Counter(process.kind for process in layout.processes) == kinds
    assert len({process.address for process in layout.processes}) == len(layout.processes)
    found = {url for urls in layout.instances.values() for url in urls}
    assert found == {process.address.url for process in layout.processes if process.kind == "coordinator"}
    assert layout.instances.keys() == set(ENVIRONMENTS[environment].regions)


def test_far_region_is_far_from_the_api_and_the_tools(tmp_path: Path) -> None:
    """It has addresses of its own for them, and a Redis of its own; notifications reach it as well."""
    layout = laid_out(tmp_path, "E", "pre-prod")
    commands = {process.name: process.command for process in layout.processes}
    for name in ("assistants", "tools"):
        assert commands[name][commands[name].index("--far-delay") + 1] == "0.03"
    near, far = (
        {word for word in commands[f"coordinator-{region}-0"] if word.startswith(("http://", "redis://"))}
        for region in ("north", "south")
    )
    assert not near & far
    assert commands["assistants"].count("--webhook-url") == commands["assistants"].count("--far-webhook-url") == 2


def test_scripts_that_are_written_are_those_of_the_plan(tmp_path: Path) -> None:
    """What the simulators read is what the faults plan means."""
    laid_out(tmp_path, "A", "staging")
    assert read_tools_script(tmp_path / "tools.json") == tools_script(FAULTS)
    assert read_runs_script(tmp_path / "api.json") == runs_script(FAULTS)


def test_launcher_takes_the_place_of_holdfast_and_of_nothing_else(tmp_path: Path) -> None:
    """A bug is planted in the proxy; simulators and reference coordinators are as they are."""
    layout = laid_out(tmp_path, "C", "staging", ("python", "buggy.py"))
    started = {process.kind: process.command[:3] for process in layout.processes}
    assert started["sidecar"] == ["python", "buggy.py", "proxy"]
    assert "buggy.py" not in started["coordinator"] + started["api"] + started["tools"]
