"""The records of a replay: what was written is read as it was, and half of it is not taken for the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from evaluation.replay.lines import BadLine
from evaluation.replay.records import (
    DONE,
    PLAN,
    USAGE,
    Call,
    Outcome,
    Plan,
    Step,
    Usage,
    folder,
    is_done,
    mark_done,
    pair_folder,
    read_lines,
    read_plan,
    read_usage,
    turns_file,
    write_lines,
    write_plan,
    write_usage,
)  # fmt: skip

OUTCOME = Outcome("c1-0", 10.0, 10.1, None, "open", sends=2, detail="409 thread-busy")
STEP = Step("c1-0", "run_1", "step_1", 0, 10.5, None, 1)
CALL = Call("c1-0", "run_1", "step_1", "call_1", "send_email", "0123456789abcdef", "unknown")
A_PLAN = Plan(
    turns={"staging": 10}, seed=1, trace="t", faults="f", pace=4, window_s=22.5, variants=("A", "E"),
    environments=("staging",), limit_s=120, pair_turns=5,
)  # fmt: skip


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    """In their order, and whoever wrote them knows how many."""
    outcomes = [OUTCOME, replace(OUTCOME, turn="c2-0", moved=True)]
    assert write_lines(tmp_path / "outcomes", outcomes) == 2
    assert list(read_lines(tmp_path / "outcomes", Outcome)) == outcomes
    assert write_lines(tmp_path / "steps", [STEP]) == write_lines(tmp_path / "calls", [CALL]) == 1
    assert list(read_lines(tmp_path / "steps", Step)) == [STEP]
    assert list(read_lines(tmp_path / "calls", Call)) == [CALL]
    assert write_lines(tmp_path / "none", ()) == 0
    assert not list(read_lines(tmp_path / "none", Call))


def test_record_that_cannot_be_used_is_told_by_its_line(tmp_path: Path) -> None:
    """Its file, its line and its field."""
    write_lines(tmp_path / "steps.jsonl", [STEP])
    with (tmp_path / "steps.jsonl").open("a") as file:
        file.write('{"turn":"a","run_id":7}\n')
    with pytest.raises(BadLine, match=r"steps\.jsonl:2: run_id: "):
        list(read_lines(tmp_path / "steps.jsonl", Step))


def test_plan_and_usage_are_read_as_they_were_written(tmp_path: Path) -> None:
    """And are replaced as a whole: nothing else is left in the folder."""
    usage = Usage(12.5, {"coordinator": 3.0}, 40, {"sidecar": 2}, moved=1)
    write_plan(tmp_path, replace(A_PLAN, seed=2))
    write_plan(tmp_path, A_PLAN)
    write_usage(tmp_path, usage)
    assert (read_plan(tmp_path), read_usage(tmp_path)) == (A_PLAN, usage)
    assert {path.name for path in tmp_path.iterdir()} == {PLAN, USAGE}


def test_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    """What its fields mean is not known."""
    write_plan(tmp_path, replace(A_PLAN, version=99))
    with pytest.raises(BadLine, match="version: is 99"):
        read_plan(tmp_path)


def test_folder_is_done_once_it_is_said(tmp_path: Path) -> None:
    """Nothing but the mark says it, however many records there are."""
    write_lines(tmp_path / "steps.jsonl", [STEP])
    assert not is_done(tmp_path)
    mark_done(tmp_path)
    assert is_done(tmp_path)
    assert (tmp_path / DONE).exists()


def test_places_are_named_for_what_is_in_them() -> None:
    """A folder for each variant in each environment, another for its latency without faults, a trace for all."""
    assert folder("pre-prod", "B") == "pre-prod-B"
    assert pair_folder("pre-prod", "B") == "pre-prod-B-calm"
    assert turns_file("pre-prod") == "turns-pre-prod.jsonl"
