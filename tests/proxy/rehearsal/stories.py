"""Cases written down in the test that plays them."""

from __future__ import annotations

import textwrap
from pathlib import Path

from policies.case_files import load_suite
from policies.loader import load_folder
from proxy.rehearsal.play import Played, play
from proxy.rehearsal.verdict import Difference, differences

HEAD = "apiVersion: holdfast.dev/v1\n"
REQUEST = """
kind: PolicyTest
request: {tool: act, headers: {X-Run-Id: run_1, X-Tool-Call-Id: call_1}, body: {a: 1}}
cases:
  - name: the story
"""


def played(folder: Path, policy: str, case: str) -> tuple[Played, tuple[Difference, ...]]:
    """Play one case for the tool `act`, given the policy's lines and the case's; return what came of it."""
    (folder / "act.yaml").write_text(f"{HEAD}kind: ToolPolicy\ntool: act\n{textwrap.dedent(policy)}\n")
    (folder / "cases.yaml").write_text(HEAD + REQUEST + textwrap.indent(textwrap.dedent(case), "    "))
    (story,) = load_suite(folder).cases
    result = play(story, load_folder(folder).policies)
    return result, differences(story, result)


def told(result: Played) -> list[tuple[int, str | None] | None]:
    """Return status and outcome of each answer."""
    return [None if one is None else (one.status, one.header("Holdfast-Outcome")) for one in result.answers]
