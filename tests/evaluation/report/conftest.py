"""One small replay of three variants in two environments, for all that render it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from evaluation.replay.records import pair_folder
from evaluation.report.findings import Findings
from evaluation.report.reporting import findings_of
from tests.evaluation.report.staged import USAGE, perfect, plan_of, turns_of, write_results

TURNS = {"staging": turns_of(60, seed=3), "pre-prod": turns_of(60, seed=4)}
VARIANTS = ("A", "B", "C", "E")


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder: A has executed one call twice in staging, one turn of B's has not ended in pre-prod, C loses
    one effect there, and E is not finished there."""
    staged = {f"{environment}-{variant}": perfect(TURNS[environment]) for environment in TURNS for variant in VARIANTS}
    staged["staging-A"].again(staged["staging-A"].effects[0])
    opened = staged["pre-prod-B"].outcomes
    opened[0] = replace(opened[0], ended_at=None, status="open")
    del staged["pre-prod-C"].effects[0]
    for variant in VARIANTS:
        staged[f"pre-prod-{variant}"].usage = replace(USAGE, moved=5)
    del staged["pre-prod-E"]
    staged[pair_folder("staging", "B")] = perfect(TURNS["staging"][:20], latency_s=2.0)
    staged[pair_folder("staging", "C")] = perfect(TURNS["staging"][:20], latency_s=2.1)
    plan = plan_of({name: len(turns) for name, turns in TURNS.items()}, VARIANTS, pair_turns=20)
    return write_results(tmp_path_factory.mktemp("results"), plan, TURNS, staged)


@pytest.fixture(scope="session")
def findings(results: Path) -> Findings:
    """What it shows."""
    return findings_of(results)
