"""A slice of the published evaluation, by the command itself: every variant as real processes, replayed, reported on
and judged, in under two minutes on a machine of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from evaluation.child import rooms_environment
from evaluation.replay.plan import BUILT_IN
from evaluation.replay.trace import write_trace
from evaluation.replay.workload import Shape, workload
from evaluation.report.findings import Findings
from evaluation.scripts import Range
from tests.redis_server import any_server

pytestmark = pytest.mark.system

SOON = Shape(seed=1, conversations_per_s=10, thought=Range(1, 5), soon=Range(0.2, 2))
NEAR = ("near: [-0.5, 2]", "near: [-8, -7]")
"""The published faults, with tools that are late by 2 to 3 s in place of the callers' 10, to take less time."""


async def evaluated(folder: Path, turns: int, variants: str, environments: str) -> Findings:
    """Run the command on so many turns of each variant; return its report."""
    any_server()
    faults = BUILT_IN.read_text()
    assert NEAR[0] in faults
    (folder / "faults.yaml").write_text(faults.replace(*NEAR))
    write_trace(folder / "trace.jsonl", workload(SOON, turns))
    command = ["-m", "cli.main", "evaluate", "--trace", "trace.jsonl", "--faults", "faults.yaml", "--pace", "2"]
    command += ["--variants", variants, "--environments", environments, "--out", "results"]
    running = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=folder, env=rooms_environment(), stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await running.communicate()
    assert running.returncode in {0, 1}, said.decode()
    assert (folder / "results" / "report.html").exists(), said.decode()
    return msgspec.json.decode((folder / "results" / "report.json").read_bytes(), type=Findings)


@pytest.mark.timeout(600)
async def test_all_variants_are_replayed_and_judged(tmp_path: Path) -> None:
    """Each has its figures and its verdict, B and C their latency pair; behind the proxy no key is executed twice."""
    findings = await evaluated(tmp_path, 60, "A,B,C,D,E", "staging")
    assert [one.variant for one in findings.replays] == ["A", "B", "C", "D", "E"]
    assert [one.variant for one in findings.decisions] == ["A", "B", "C", "D", "E"]
    assert not findings.unfinished
    assert [pair.turns for pair in findings.pairs] == [60]
    for one in findings.replays:
        assert sum(one.statuses.values()) == 60
        if one.variant in {"C", "D", "E"}:
            assert one.executions.keys() <= {1}


async def test_two_regions_are_replayed_and_judged(tmp_path: Path) -> None:
    """Holdfast whole, with a ledger in each region."""
    findings = await evaluated(tmp_path, 40, "E", "pre-prod")
    (one,) = findings.replays
    assert (one.environment, sum(one.statuses.values())) == ("pre-prod", 40)
    assert one.executions.keys() <= {1}
