"""Playing cases, and telling how they went."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cli.policy_cases import failures, play_all, rows
from policies.faults import PolicyErrors

HEAD = "apiVersion: holdfast.dev/v1\n"
CASES = """kind: PolicyTest
cases:
  - name: one that holds
    requests: [{tool: t, headers: {Idempotency-Key: k}, expect: {status: 200}}]
  - name: one that fails
    requests: [{tool: t, expect: {status: 200}}]
"""


def folder(path: Path, name: str) -> str:
    """Write a policy and two cases."""
    here = path / name
    here.mkdir()
    (here / "t.yaml").write_text(f"{HEAD}kind: ToolPolicy\ntool: t\n---\n{HEAD}{CASES}")
    return str(here)


def test_each_path_is_played_against_its_own_policies(tmp_path: Path) -> None:
    """In the order given; a line for each difference, a row for each case."""
    paths = [folder(tmp_path, "a"), folder(tmp_path, "b")]
    results = play_all(paths)
    assert [bool(result.differences) for result in results] == [False, True, False, True]
    assert failures(results) == [
        f"{path}/t.yaml:11:34: one that fails: request 1: status: expected 200, got 400" for path in paths
    ]
    row = rows(results)[1]
    assert (row["case"], row["passed"], row["calls"], row["state"]) == ("one that fails", False, 0, [])
    assert row["differences"] == [{"line": 11, "what": "request 1: status", "expected": "200", "got": "400"}]


def test_nothing_is_played_where_something_is_wrong(tmp_path: Path) -> None:
    """The faults of every path are told at once."""
    good, bad = folder(tmp_path, "a"), folder(tmp_path, "b")
    (Path(bad) / "u.yaml").write_text(f"{HEAD}kind: ToolPolicy\ntool: u\nmode: maybe\n")
    with pytest.raises(PolicyErrors) as raised:
        play_all([good, bad, str(tmp_path / "gone.yaml")])
    assert [fault.field for fault in raised.value.faults] == ["mode", ""]


def test_example_of_the_documentation_holds(tmp_path: Path) -> None:
    """For the shipped policies, as it says."""
    root = Path(__file__).parents[2]
    (example,) = re.findall(r"```yaml\n([^`]*kind: PolicyTest[^`]*)```", (root / "docs" / "policies.md").read_text())
    shutil.copy(root / "policies" / "create_ticket.yaml", tmp_path)
    (tmp_path / "cases.yaml").write_text(example)
    results = play_all([str(tmp_path)])
    assert len(results) == 2
    assert not failures(results)
