"""What the three forms of `-o` print."""

from __future__ import annotations

import json

import pytest

from cli.output import emit

ROWS: list[dict[str, str | None]] = [
    {"tool": "create_ticket", "state": "unknown", "note": None},
    {"tool": "a[bold]b", "state": "x" * 150},
]


def test_json_form_is_one_array_with_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON carries what the table has no column for."""
    emit("json", ["tool"], ROWS)
    assert json.loads(capsys.readouterr().out) == ROWS


def test_jsonl_form_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line stands alone, so that a reader can stop anywhere."""
    emit("jsonl", ["tool"], ROWS)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


def test_table_in_a_pipe_keeps_each_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Long values are not folded where no terminal is: `grep` works on the table."""
    emit("table", ["tool", "state"], ROWS)
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["TOOL", "STATE"]
    assert first.split() == ["create_ticket", "unknown"]
    assert second.split()[1] == "x" * 150
    assert first == first.rstrip()


def test_table_shows_square_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Values come from outside; none of them is markup."""
    emit("table", ["tool"], ROWS)
    assert "a[bold]b" in capsys.readouterr().out


@pytest.mark.parametrize(
    "value",
    ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\u202e", "a\nb", "a\rb"],
    ids=["clear", "title", "c1", "bidi", "lf", "cr"],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_value_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str, terminal: bool
) -> None:
    """A tool's own id, an API's message or a run's id may hold anything; a table shows that, and does not do it."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    emit("table", ["tool"], [{"tool": f"before{value}after"}])
    _heading, line = capsys.readouterr().out.splitlines()
    assert (
        line.rstrip()
        == "before" + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value) + "after"
    )


def test_empty_result_is_an_empty_array_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that reads JSON gets JSON, also when there is nothing."""
    emit("json", ["tool"], [])
    assert json.loads(capsys.readouterr().out) == []
