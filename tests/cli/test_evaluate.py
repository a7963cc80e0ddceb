"""`holdfast evaluate` as a user runs it; what it replays is shown by tests/evaluation/run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.evaluate import PACE, evaluate
from evaluation.replay.plan import read_plan
from evaluation.replay.records import folder, write_plan
from evaluation.replay.trace import write_trace
from evaluation.replay.turns import Turn
from evaluation.replay.workload import Shape, workload
from evaluation.run.matrix import make_plan, shares_of
from tests.evaluation.report.staged import perfect, write_results

WRONG = 'tools: {callerLimit: 10, near: [0, 1], latency: [0, 1], slowness: [0, 1], slow: "often"}\n'


def run(*args: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(evaluate, list(args))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--variants", "A,Z"], "'A,Z' is not a list of A, B, C, D, E"),
        (["--variants", "A,A"], "each once"),
        (["--environments", "moon"], "staging, pre-prod"),
        (["--turns", "1"], "1 turns are too few for 2 environments"),
        (["--pace", "0"], "--pace"),
        (["--trace", "no/such/file"], "--trace"),
    ],
)
def test_wrong_use_ends_with_2(tmp_path: Path, args: list[str], told: str) -> None:
    """And says what could have been asked for; nothing is started, and nothing written."""
    ended = run(*args, "--out", str(tmp_path / "out"))
    assert ended.exit_code == 2, ended.output
    assert told in ended.output
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_used_are_told_by_what_is_wrong(tmp_path: Path) -> None:
    """A trace by its line, a faults plan by its field."""
    (tmp_path / "trace").write_text('{"holdfast_trace": 1}\n{"id": 7}\n')
    (tmp_path / "faults.yaml").write_text(WRONG)
    for flag, name, told in (("--trace", "trace", "trace:2: id: "), ("--faults", "faults.yaml", "tools.slow")):
        ended = run(flag, str(tmp_path / name), "--out", str(tmp_path / "out"))
        assert ended.exit_code == 2, ended.output
        assert told in ended.output


def test_folder_of_another_replay_is_a_conflict(tmp_path: Path) -> None:
    """It is left as it is; which field differs is told."""
    shares = shares_of(workload(Shape(seed=1), 50), ["staging"])
    plan = make_plan(shares, read_plan(), seed=1, pace=PACE, variants=("A",), pair=False)
    write_plan(tmp_path, plan)
    asked = ("--turns", "50", "--environments", "staging", "--variants", "A", "--out", str(tmp_path))
    ended = run(*asked)
    assert ended.exit_code == 4, ended.output
    assert "--resume" in ended.output
    ended = run(*asked, "--resume", "--seed", "2")
    assert ended.exit_code == 4, ended.output
    assert "begun with seed 1" in ended.output


def done(out: Path, turns: Sequence[Turn]) -> Path:
    """Write the results of a replay of B in staging in which everything went right."""
    shares = shares_of(turns, ["staging"])
    plan = make_plan(shares, read_plan(), seed=1, pace=PACE, variants=("B",), pair=False)
    return write_results(out, plan, shares, {folder("staging", "B"): perfect(shares["staging"])})


def test_replay_ends_with_its_report_and_the_gates_answer(tmp_path: Path) -> None:
    """What is done is gone on with to its end: of a team's own turns, as many as it asks for. The report says why the
    gate does not let the candidates ship, and again without a replay."""
    turns = workload(Shape(seed=3), 60)
    write_trace(tmp_path / "trace", turns)
    out = done(tmp_path / "out", turns[:50])
    asked = ("--trace", str(tmp_path / "trace"), "--turns", "50", "--environments", "staging", "--variants", "B")
    ended = run(*asked, "--out", str(out), "--resume")
    assert ended.exit_code == 1, ended.output
    assert "cannot tell" in ended.stdout
    assert {"report.json", "report.html"} <= {path.name for path in out.iterdir()}
    again = run("report", str(out), "-o", "json")
    assert again.exit_code == 1, again.output
    assert json.loads(again.stdout)["plan"]["turns"] == {"staging": 50}


def test_gate_of_a_team_decides(tmp_path: Path) -> None:
    """With 0 where it is met; one that cannot be read is refused before anything is replayed."""
    out = done(tmp_path / "out", workload(Shape(seed=3), 60))
    (tmp_path / "gate.yaml").write_text("lines: [{figure: repeated_keys, atMost: 0}]")
    assert run("report", str(out), "--gate", str(tmp_path / "gate.yaml")).exit_code == 0
    (tmp_path / "gate.yaml").write_text("lines: [{figure: repeated_kees, atMost: 0}]")
    ended = run("--gate", str(tmp_path / "gate.yaml"), "--out", str(tmp_path / "other"))
    assert ended.exit_code == 2, ended.output
    assert "did you mean repeated_keys?" in ended.output
    assert not (tmp_path / "other").exists()


def test_report_on_what_is_no_replay_ends_with_2(tmp_path: Path) -> None:
    """And says which folder is meant."""
    ended = run("report", str(tmp_path))
    assert ended.exit_code == 2, ended.output
    assert "holdfast evaluate --out" in ended.output
