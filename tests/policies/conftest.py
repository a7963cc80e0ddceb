"""Folders of policy files, written down in the test that reads them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.faults import Fault, PolicyErrors
from policies.loader import Loaded, load_folder
from policies.matcher import PolicySet
from policies.model import ToolPolicy

HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\n"
HEAD_LINES = 2


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Loaded]:
    """Load a folder of files, given as `name=text`; `.yaml` is added, and indentation taken off."""

    def loading(**files: str) -> Loaded:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
        return load_folder(tmp_path)

    return loading


@pytest.fixture
def tool(load: Callable[..., Loaded]) -> Callable[[str], Loaded]:
    """Load one policy for the tool `t`, given the lines below its first three."""
    return lambda lines: load(a=f"{HEAD}tool: t\n{textwrap.dedent(lines)}")


@pytest.fixture
def faults(tool: Callable[[str], Loaded]) -> Callable[[str], list[tuple[int, int, str, str]]]:
    """Say what is wrong with one policy: line and column below its first three lines, field, and the rest."""

    def loading(lines: str) -> list[tuple[int, int, str, str]]:
        with pytest.raises(PolicyErrors) as raised:
            tool(lines)
        return [told(fault) for fault in raised.value.faults]

    return loading


def matched(policies: PolicySet, method: str, path: str) -> ToolPolicy:
    """Return the policy for a request, whoever asks."""
    found = policies.match(method, path)
    assert isinstance(found, ToolPolicy)
    return found


def told(fault: Fault) -> tuple[int, int, str, str]:
    """Return what a test compares of a fault."""
    return fault.place.line - HEAD_LINES - 1, fault.place.column, fault.field, f"{fault.message}. {fault.remedy}"


def refusals(folder: Path) -> list[str]:
    """Return what is wrong with a folder, without the folder's name."""
    with pytest.raises(PolicyErrors) as raised:
        load_folder(folder)
    return [str(fault).replace(f"{folder}", "P") for fault in raised.value.faults]
