"""Traces: what was recorded is replayed, and what is no trace is told by line, field and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.replay.lines import LINE_BYTES_MAX
from evaluation.replay.trace import BadTrace, read_trace, write_trace
from evaluation.replay.workload import Shape, workload

CALL: dict[str, Any] = {"tool": "send_email", "arguments": {"to": "a@b.example"}}
TURN: dict[str, Any] = {
    "id": "a",
    "at": 1,
    "tenant": "acme",
    "user": "u1",
    "thread": "th",
    "client_turn_id": "a",
    "steps": [[CALL]],
}
HEADER = '{"holdfast_trace": 1}'


def trace(path: Path, *lines: str | dict[str, Any], header: str = HEADER) -> Path:
    """Write a trace of these lines."""
    path = path / "turns.jsonl"
    told = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{line}\n" for line in (header, *told)))
    return path


def test_recorded_turns_are_read_as_they_were(tmp_path: Path) -> None:
    """A whole workload survives being written down, in its order."""
    turns = workload(Shape(seed=3), 500)
    write_trace(tmp_path / "turns.jsonl", turns)
    assert list(read_trace(tmp_path / "turns.jsonl")) == turns


def test_team_brings_turns_of_its_own(tmp_path: Path) -> None:
    """What a turn need not say is left out: a call writes and is meant unless it says otherwise."""
    (turn,) = read_trace(trace(tmp_path, TURN))
    assert len(turn.intended()) == len(turn.planned()) == 1


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", "1: the first line does not say that this is a trace"),
        ('{"id": "a"}', "1: the first line does not say that this is a trace"),
        ('{"holdfast_trace": 2}', "1: holdfast_trace is 2, which this Holdfast does not know: record the trace again"),
    ],
)
def test_file_that_is_no_trace_of_this_version_is_refused(tmp_path: Path, header: str, told: str) -> None:
    """The first line says what a file is."""
    with pytest.raises(BadTrace, match=told):
        list(read_trace(trace(tmp_path, TURN, header=header)))


STEP: dict[str, Any] = {**TURN, "id": "b"}
AGAIN = {"of": "a", "kind": "said-again"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            {**STEP, "steps": [[{**CALL, "tool": 7}]]},
            r"steps\[0\]\[0\].tool: Expected `str`, got `int`: write",
        ),
        ({**STEP, "steps": [[{"tool": "x"}]]}, r"steps\[0\]\[0\].arguments: .*missing.*: add the field"),
        ({**STEP, "tennant": "x"}, "tennant: .*unknown field.*: remove the field, or correct its name"),
        ({name: value for name, value in STEP.items() if name != "user"}, "user: .*missing.*: add the field"),
        ({**STEP, "repeat": {"of": "a", "kind": "again"}}, "repeat.kind: Invalid enum value 'again': write"),
        ({**STEP, "repeat": {"of": "z", "kind": "resent"}}, "repeat.of: 'z' is no earlier turn: name one"),
        ({**STEP, "repeat": AGAIN}, r"steps\[0\]\[0\].meant: .*: write false, or"),
        ({**STEP, "id": "a"}, "id: 'a' is the id of an earlier turn: give each turn its own"),
        ({**STEP, "at": 0.5}, "at: 0.5 is before the turn above .*: sort the lines"),
        ({**STEP, "tenant": ""}, "tenant: is empty: write a name"),
        ({**STEP, "steps": [[]]}, r"steps\[0\]: has no calls: remove the step"),
        ({**STEP, "steps": [[{**CALL, "tool": ""}]]}, r"steps\[0\]\[0\].tool: is empty: write a tool's name"),
        ("[]", "the whole line: Expected `object`, got `array`: write"),
        ('{"id": "b", "at"', "not JSON .*: write one record per line"),
        ("", "the line is empty: remove it"),
    ],
)
def test_bad_line_is_refused_by_number_field_and_remedy(tmp_path: Path, line: Any, told: str) -> None:
    """Whoever brought the trace reads where it is wrong, in what, and what to do about it."""
    path = trace(tmp_path, TURN, line)
    with pytest.raises(BadTrace, match=f"turns.jsonl:3: {told}"):
        list(read_trace(path))


def test_line_without_an_end_is_not_read_whole(tmp_path: Path) -> None:
    """A file of another kind does not fill the memory."""
    with pytest.raises(BadTrace, match=f"3: the line is longer than {LINE_BYTES_MAX} bytes"):
        list(read_trace(trace(tmp_path, TURN, "x" * (LINE_BYTES_MAX + 1))))
