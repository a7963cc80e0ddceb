"""The demo's findings as people see them."""

from __future__ import annotations

import io
import shlex

import pytest
from rich.console import Console

from evaluation.address import Address
from evaluation.agent_run import AgentRun
from evaluation.agent_run import checks as agent_checks
from evaluation.demo import Replay, Side, checks
from evaluation.demo_report import Hands, commands, merged, show
from evaluation.incident import Event
from tests.evaluation.conftest import effect


def event(at_ms: int, what: str, req: str) -> Event:
    """Return a line of a timeline."""
    return Event(at_ms, "tool-exec", "INFO", f"{what} req={req} " + "with some more words " * 4, what, req)


LEFT = (event(0, "sent", "gw_1"), event(10, "sent", "gw_2"), event(11, "answer", "gw_2"), event(20, "executed", "gw_1"))
RIGHT = (
    event(0, "sent", "gw_1"),
    event(12, "sent", "gw_2"),
    event(21, "executed", "gw_1"),
    event(22, "answer", "gw_2"),
)


CALL_ID = "call_" + "x" * 30
RUN = {
    "status": "completed",
    "timeline": [{"at": "2026-11-25T10:00:00.123Z", "what": "asked", "call": "", "detail": f"{CALL_ID}, {CALL_ID}"}],
    "steps": [{"calls": [{"tool_call_id": CALL_ID, "known_as": "call_1"}]}],
}
EFFECTS = (effect("tkt_900", "gw_1"),)
AGENT = AgentRun(RUN, EFFECTS, (), agent_checks(RUN, EFFECTS, []))


def test_merged_timelines_keep_their_own_order() -> None:
    """Each column reads in its own order, and the same event stands in one row where both orders allow it."""
    rows = merged(LEFT, RIGHT)
    assert tuple(a for a, _ in rows if a) == LEFT
    assert tuple(b for _, b in rows if b) == RIGHT
    assert [(a and a.what, b and b.what) for a, b in rows] == [
        ("sent", "sent"),
        ("sent", "sent"),
        ("answer", None),
        ("executed", "executed"),
        (None, "answer"),
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_report_fits_the_terminal(columns: int) -> None:
    """Nothing but the commands to copy is wider than the terminal, and without one there are no colours."""
    left = Side("directly", LEFT, (), 0, None, None)
    right = Side("through holdfast", RIGHT, (), 0, None, None)
    written = io.StringIO()
    show(Console(file=written, width=columns, highlight=False), Replay(5.0, left, right, checks(left, right), AGENT))
    lines = written.getvalue().splitlines()
    assert all(len(line) <= columns for line in lines if not line.startswith(("(D=", "curl")))
    assert "\x1b" not in written.getvalue()
    assert any(line.startswith("FAILED") for line in lines)


def test_commands_to_try_are_three_and_the_second_is_sent_again() -> None:
    """Start, send, send again: each one line for a shell, the last two the same."""
    (_, start), (_, send), (_, again) = commands(
        Hands(speed=2, tool=Address("127.0.0.1", 1), proxy=Address("127.0.0.1", 2))
    )
    assert send == again
    assert "\n" not in start + send
    words = shlex.split(send)
    assert words[0] == "curl"
    assert words[words.index("--max-time") + 1] == "5"
    assert "http://127.0.0.1:2/tools/create_ticket" in words
    assert "--upstream http://127.0.0.1:1" in start
