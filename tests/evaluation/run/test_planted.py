"""A bug of the kind that Holdfast is there to rule out, planted in it, is seen by the gate, which names the line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from evaluation.replay.plan import read_plan
from evaluation.replay.workload import Shape, workload
from evaluation.report.gate import Decision
from evaluation.report.reporting import findings_of
from evaluation.run.calm import calmed
from evaluation.run.matrix import Matrix, enter, make_plan, shares_of
from evaluation.scripts import Range
from tests.evaluation.run import planted
from tests.redis_server import any_server

pytestmark = pytest.mark.system

WRITES = Shape(seed=1, calls=(0, 1), writes=1, intents=(1,), conversations_per_s=20)
SLOW = 0.3
"""Of the calls take 5 to 6 s: longer than it takes B's other instances to take a run, and than the planted lease."""


async def decided(out: Path, variant: str, bug: str = "") -> Decision:
    """Replay some writes, many of them slow, against a variant with a bug; return what the gate says of it."""
    any_server()
    calm = calmed(read_plan())
    faults = replace(calm, tools=replace(calm.tools, over_limit=SLOW, near=Range(-5, -4)))
    shares = shares_of(workload(WRITES, 40), ["staging"])
    plan = make_plan(shares, faults, seed=1, pace=1, variants=(variant,), pair=False)
    enter(out, plan, shares, resume=False)
    launcher = {variant: (sys.executable, planted.__file__, bug)} if bug else {}
    await Matrix(out, plan, shares, faults, launchers=launcher).run()
    (decision,) = findings_of(out).decisions
    return decision


def missed(decision: Decision) -> set[str]:
    """Return the figures that are beyond their bounds."""
    return {held.line.figure for held in decision.held if held.standing == "missed"}


@pytest.mark.parametrize(
    ("variant", "bug"), [("C", "late-claim"), ("C", "rerunning-lease"), ("B", "")], ids=["late", "lease", "submission"]
)
async def test_bug_makes_the_gate_say_do_not_ship(tmp_path: Path, variant: str, bug: str) -> None:
    """Claimed after it was forwarded, run again because a lease is over, or deduplicated at submission alone, as B is
    by design: a key was executed twice, and that is the line that decided."""
    decision = await decided(tmp_path, variant, bug)
    assert decision.verdict == "do not ship"
    assert "repeated_keys" in {held.line.figure for held in decision.decided}


async def test_without_a_bug_no_key_is_executed_twice(tmp_path: Path) -> None:
    """The same turns, the same slow tools, and nothing planted: so it was the bug that was seen."""
    decision = await decided(tmp_path, "C")
    assert "repeated_keys" not in missed(decision)
    assert "repeated_calls" not in missed(decision)
