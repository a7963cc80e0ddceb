"""Where cases are looked for, and which policies they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.case_files import load_suite
from policies.faults import PolicyErrors
from policies.loader import load_folder

POLICY = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: t\n"
CASES = "apiVersion: holdfast.dev/v1\nkind: PolicyTest\ncases: [{name: NAME, requests: [{tool: t}]}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a policy, cases beside it, and cases below it."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "t.yaml").write_text(POLICY + "---\n" + CASES.replace("NAME", "beside"))
    (tmp_path / "tests" / "t.yaml").write_text(CASES.replace("NAME", "below"))
    (tmp_path / "tests" / "notes.txt").write_text("kind: PolicyTest")
    return tmp_path


def test_cases_lie_beside_the_policies_or_below_them(folder: Path) -> None:
    """And are for the policies of the folder."""
    suite = load_suite(folder)
    assert [case.name for case in suite.cases] == ["beside", "below"]
    assert suite.folder == folder


def test_file_of_cases_is_for_the_policies_above_it(folder: Path) -> None:
    """If it lies in a folder `tests`; else for those beside it."""
    assert load_suite(folder / "tests" / "t.yaml").folder == folder
    assert load_suite(folder / "t.yaml").folder == folder
    assert [case.name for case in load_suite(folder / "t.yaml").cases] == ["beside"]


def test_cases_are_no_policies(folder: Path) -> None:
    """A proxy loads the folder as if they were not there, whatever is wrong with them."""
    (folder / "broken.yaml").write_text("apiVersion: holdfast.dev/v1\nkind: PolicyTest\ncases: 1\n")
    assert [policy.tool for policy in load_folder(folder).policies.policies] == ["t"]
    with pytest.raises(PolicyErrors, match="broken.yaml:3:8: cases: text where a list is expected|a number where"):
        load_suite(folder)


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """By its name and the system's reason."""
    with pytest.raises(PolicyErrors, match="gone.yaml:1:1: cannot be read: No such file"):
        load_suite(tmp_path / "gone.yaml")
