"""What docs/operations.md has a stranger do, done: the scripts under docs/ run, and the page's commands are theirs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main
from tests.redis_server import held_port
from tests.tracked import ROOT

WALK = ROOT / "docs/walkthroughs/unknown.sh"
PORTS = ("TOOL_PORT", "DATA_PORT", "ADMIN_PORT", "HEALTH_PORT")


@pytest.mark.system
@pytest.mark.fault(55)
@pytest.mark.parametrize("how", ["probe", "ruling"])
def test_call_in_the_middle_of_which_the_sidecar_is_killed_is_one_ticket_in_the_end(tmp_path: Path, how: str) -> None:
    """Unknown until the tool, or a person, says what became of it; then the caller has its ticket."""
    command = tmp_path / "holdfast"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST")}
    environment |= {"HOLDFAST": str(command), "PYTHONPATH": str(ROOT)}
    if how == "probe":
        environment["LATENCY"] = "15"  # on a busy machine it takes a while to look before the probe has found it
    with contextlib.ExitStack() as stack:
        environment |= {name: str(stack.enter_context(held_port())) for name in PORTS}
        ended = subprocess.run([WALK, how], env=environment, capture_output=True, text=True, check=False, timeout=170)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("how many tickets?\n1\n")


def test_commands_on_the_page_are_there_and_take_their_flags() -> None:
    """Each `holdfast ops …` of docs/operations.md names a command and options that it has."""
    page = (ROOT / "docs/operations.md").read_text()
    told = re.findall(r"^(?:\| `)?holdfast ((?:ops|runs) [^`\n]*)", page, re.MULTILINE)
    assert len(told) > 8
    for line in told:
        group, name, *rest = line.split()
        place = main.get_command(None, group)  # type: ignore[arg-type]  # it asks nothing of its context
        command = place.commands[name]  # type: ignore[union-attr]
        flags = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= flags, line
