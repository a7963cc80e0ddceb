"""What docs/policies-by-example.md says is so: no fault, no case that fails, and commands print what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.policy import policy
from tests.tracked import ROOT

PAGE = (ROOT / "docs/policies-by-example.md").read_text()
SECTION = re.compile(r"^## (\d+)\. (.*?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^\$ holdfast policy (.*)\n((?:[^$`].*\n)*)", re.MULTILINE)
SECTIONS = [(number, text) for number, _, text in SECTION.findall(PAGE)]


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of one section, in a folder that is the current one."""
    for name, content in FILE.findall(request.param):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


each = pytest.mark.parametrize("folder", [text for _, text in SECTIONS], ids=[n for n, _ in SECTIONS], indirect=True)


def test_every_situation_has_its_policy_and_its_cases() -> None:
    """The page's list names each of them, in order."""
    assert re.findall(r"^\| .* \| \[(\d+)\]", PAGE, re.MULTILINE) == [number for number, _ in SECTIONS]
    for _, text in SECTIONS:
        names = [name for name, _ in FILE.findall(text)]
        assert len(names) == 2, names
        assert names[1] == f"tests/{names[0]}"


@each
def test_example_has_no_fault_and_stands_its_cases(folder: Path) -> None:
    """By the commands at the page's end."""
    for command in ("check", "test"):
        ended = CliRunner().invoke(policy, [command, "."])
        assert ended.exit_code == 0, ended.output
    assert not ended.stdout.startswith("0 ")


@each
def test_command_shows_what_the_page_shows(request: pytest.FixtureRequest, folder: Path) -> None:
    """Lines of a command on the page are the beginnings of lines that it prints, but for white space."""
    (text,) = (text for number, text in SECTIONS if f"[{number}]" in request.node.name)
    for command, shown in SHOWN.findall(text):
        arguments = shlex.split(command.partition(" | ")[0])
        ended = CliRunner().invoke(policy, arguments)
        assert ended.exit_code == 0, ended.output
        printed = "\n".join(" ".join(line.split()) for line in ended.output.splitlines())
        for line in shown.splitlines():
            assert f"\n{' '.join(line.split())} " in printed, line
