"""Runs in each of their states, and what the API may show of them."""

from __future__ import annotations

from msgspec.structs import replace

from coordinator import transitions
from coordinator.backend import ASKING, Seen, StepOutputs, ToolCall
from coordinator.records import Given, Run
from coordinator.renewal import Fact

PATIENCE_MS, EXPIRES_MS = 120_000, 600_000
TOKEN = "token-1"


def asks(*calls: tuple[str, str] | tuple[str, str, str], expires_ms: int = EXPIRES_MS) -> Seen:
    """The API asks for calls: id, arguments and, unless it is `create_ticket`, the tool."""
    return Seen(ASKING, tuple(ToolCall(call[0], (*call, "create_ticket")[2], call[1]) for call in calls), expires_ms)


def facts(seen: Seen) -> dict[str, Fact]:
    """What is known of the calls that are asked for: all but `read_file` write, and arguments are their own digest."""
    return {one.tool_call_id: Fact(one.arguments, one.tool != "read_file", PATIENCE_MS) for one in seen.calls}


def shows(step_id: str, *calls: str, outputs: bool = False) -> StepOutputs:
    """The API's step of these calls, with or without their outputs."""
    return StepOutputs(step_id, dict.fromkeys(calls, "{}" if outputs else None))


def result(text: str = "done", source: str = "tool") -> Given:
    """A result; its text is its digest."""
    return Given(f'"{text}"', text, source, source, 0)  # type: ignore[arg-type]


def looked(run: Run, seen: Seen, step_id: str = "", now_ms: int = 10) -> Run:
    """Return the run as of `seen`, whose calls belong to an unsubmitted step, if one is named."""
    found = shows(step_id, *(call.tool_call_id for call in seen.calls)) if step_id else None
    return transitions.looked(run, seen, facts(seen), found, now_ms)


def begun() -> Run:
    """A run of which nothing is known yet."""
    return transitions.begun("assistants", "thread_1", "run_1", 0)


def opened() -> Run:
    """One that asks for two different writes, `a` and `b`."""
    return looked(begun(), asks(("a", "1"), ("b", "2")), "step_1")


def whole() -> Run:
    """Both have their results."""
    run, _ = transitions.given(opened(), "a", result("ra"), 20)
    return transitions.given(run, "b", result("rb"), 20)[0]


def submitting() -> Run:
    """They are on their way."""
    return transitions.submitting(whole(), TOKEN, 30)


def submitted() -> Run:
    """The API took them."""
    return transitions.submitted(submitting(), TOKEN, "accepted", "", 40)


def superseded() -> Run:
    """One that was asked again for `a` alone, under the id `c`, before anything was submitted."""
    return looked(opened(), asks(("c", "1")), "step_2")


def over() -> Run:
    """One that was cancelled with its calls out."""
    return transitions.looked(opened(), Seen("cancelled"), {}, None, 50)


RUNS = {
    "none": begun(), "open": opened(), "whole": whole(), "submitting": submitting(), "submitted": submitted(),
    "over": over(),
}  # fmt: skip
"""A run for each state of its newest step."""


def states(run: Run) -> list[str]:
    """Return the states of a run's steps."""
    return [step.state for step in run.steps]


def lines(run: Run) -> list[str]:
    """Return what the timeline says, without times and details."""
    return [event.what for event in run.history]


def with_status(run: Run, status: str) -> Run:
    """Return the run as if the API had been seen in another status."""
    return replace(run, status=status)
