"""`holdfast evaluate` as a user runs it; what it replays is shown by tests/evaluation/run."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.evaluate import evaluate
from evaluation.replay.plan import read_plan
from evaluation.replay.records import DONE, folder, write_plan
from evaluation.replay.trace import write_trace
from evaluation.replay.workload import Shape, workload
from evaluation.run.matrix import make_plan, shares_of

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
    plan = make_plan(shares, read_plan(), seed=1, pace=4, variants=("A",), pair=False)
    write_plan(tmp_path, plan)
    asked = ("--turns", "50", "--environments", "staging", "--variants", "A", "--out", str(tmp_path))
    ended = run(*asked)
    assert ended.exit_code == 4, ended.output
    assert "--resume" in ended.output
    ended = run(*asked, "--resume", "--seed", "2")
    assert ended.exit_code == 4, ended.output
    assert "begun with seed 1" in ended.output


def test_team_brings_its_own_turns(tmp_path: Path) -> None:
    """As many of them as it asks for; a replay that is done already is gone on with to its end."""
    turns = workload(Shape(seed=3), 60)
    write_trace(tmp_path / "trace", turns)
    shares = shares_of(turns[:50], ["staging"])
    plan = make_plan(shares, read_plan(), seed=1, pace=4, variants=("A",), pair=False)
    out = tmp_path / "out"
    (out / folder("staging", "A")).mkdir(parents=True)
    (out / folder("staging", "A") / DONE).touch()
    write_plan(out, plan)
    args = ("--trace", str(tmp_path / "trace"), "--turns", "50", "--environments", "staging", "--variants", "A")
    ended = run(*args, "--out", str(out), "--resume")
    assert ended.exit_code == 0, ended.output
    assert str(out) in ended.output
