"""Commands that pages have one type are there, with the options that they are given; every page is in the contents."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.main import main
from tests.tracked import ROOT, tracked_files

PAGES = [path for path in tracked_files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]
BLOCK = re.compile(r"^```(?:console|sh|)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^(?:\$ )?(?:kubectl [^|]* -- )?holdfast (.*)$", re.MULTILINE)
ENDS = re.compile(r"\s+(?:[|#&]|\d?>).*$")
ELIDED = {"…", "..."}


def typed(path: Path) -> Iterator[str]:
    """Yield the arguments of each `holdfast` command in the blocks of a page, without what follows it in the shell."""
    for block in BLOCK.findall((ROOT / path).read_text()):
        for arguments in TYPED.findall(block.replace("\\\n", " ")):
            yield ENDS.sub("", arguments)


ALL = [(path, arguments) for path in PAGES for arguments in typed(path)]


def command_of(words: list[str]) -> click.Command:
    """Return the command that the first words name."""
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"there is no {word!r} in {command.name}"
        command = found
    return command


@pytest.mark.parametrize(("path", "arguments"), ALL, ids=[f"{path}: {arguments[:40]}" for path, arguments in ALL])
def test_command_on_a_page_is_there_and_takes_its_options(path: Path, arguments: str) -> None:
    """Each word with a dash is an option of the command that the words before it name."""
    words = [word for word in shlex.split(arguments) if word not in ELIDED]
    command = command_of(list(itertools.takewhile(lambda word: not word.startswith("-"), words)))
    flags = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    assert given - {"--help", "-h", "--version"} <= flags


def test_commands_were_found() -> None:
    """In the README, and on most pages that are about commands."""
    assert len(ALL) > 40
    assert {"README.md", "docs/operations.md", "docs/integrating.md"} <= {str(path) for path, _ in ALL}


def test_every_page_is_in_the_contents() -> None:
    """docs/README.md leads to each page, to the folder of decisions, and to each chart."""
    linked = {
        target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "docs/README.md").read_text())
    }
    pages = {str(path.relative_to("docs")) for path in PAGES if path.parts[0] == "docs"}
    unlisted = {page for page in pages if page.split("/")[0] not in {"decisions", "runbooks", "README.md"}}
    assert unlisted <= linked
    assert {"decisions", "runbooks/README.md", "../helm/holdfast/README.md", "../helm/holdfast-lib/README.md"} <= linked
