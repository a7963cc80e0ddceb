"""What really became of runs: told to whoever measures, to nobody who takes part.

`GET /_simulator/runs?since=N` gives the runs that have ended, in the order in which they did, from the Nth on, and
where the next page begins; `?open=true` those that have not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from evaluation.assistants.things import Run, RunStatus, Step, ToolCall
from evaluation.tools.asking import payload_hash

PAGE_MAX = 500

Told = Literal["result", "unknown", "refused", "error", "none"]

UNKNOWN = frozenset({"unknown", "overdue", "not-posted"})
FAILED = frozenset({"", "failed", "timed-out", "unreachable", "too-large"})


class CallTruth(Struct, frozen=True):
    """A tool call; `told` is what the output that was taken says, see `told_by`."""

    tool_call_id: str
    tool: str
    payload_hash: str
    told: Told


class StepTruth(Struct, frozen=True):
    """A step that asked for calls, in Unix seconds: when it first did, and when its outputs were taken. `attempts`
    counts requests to submit, `without_id` those that lacked the id of a call, `regenerated` how often its calls were
    asked for anew; `calls` are the newest ones."""

    step_id: str
    asked_at: float
    taken_at: float | None
    attempts: int
    without_id: int
    regenerated: int
    calls: tuple[CallTruth, ...]


class RunTruth(Struct, frozen=True):
    """A run; `turn` is what the message that began it calls itself, `ended_at` None for one that has not ended."""

    run_id: str
    thread_id: str
    turn: str
    status: RunStatus
    ended_at: float | None
    steps: tuple[StepTruth, ...]


class Page(Struct, frozen=True):
    """Some runs, and where the following page begins."""

    next: int
    runs: tuple[RunTruth, ...]


class _Error(Struct):
    outcome: str = ""


class _Output(Struct):
    error: _Error | None = None


def truth_of(run: Run) -> RunTruth:
    """Return what became of a run so far."""
    steps = tuple(_step(step) for step in run.steps if step.calls)
    return RunTruth(run.id, run.thread_id, run.turn, run.status, run.over_at, steps)


def page_of(ended: list[Run], since: int) -> Page:
    """Return the runs from the `since`th on, at most `PAGE_MAX`."""
    found = ended[since : since + PAGE_MAX]
    return Page(since + len(found), tuple(map(truth_of, found)))


def open_runs(runs: Iterable[Run]) -> Page:
    """Return those that have not ended."""
    return Page(0, tuple(truth_of(run) for run in runs if run.over_at is None))


def told_by(output: str | None) -> Told:
    """Return what an output says of its call: the tool's result; an error whose `outcome` is that nobody knows whether
    it ran, that an attempt failed, or that it was refused; none was taken."""
    if output is None:
        return "none"
    try:
        error = msgspec.json.decode(output, type=_Output).error
    except msgspec.MsgspecError:
        return "result"  # JSON of another shape, or no JSON: a tool may say what it likes
    if error is None:
        return "result"
    if error.outcome in UNKNOWN:
        return "unknown"
    return "error" if error.outcome in FAILED else "refused"


def _step(step: Step) -> StepTruth:
    calls = tuple(map(_call, step.calls))
    return StepTruth(
        step.id, step.asked_at, step.taken_at, step.attempts, step.without_id, step.regenerated, calls
    )  # fmt: skip


def _call(call: ToolCall) -> CallTruth:
    wanted = call.wanted
    return CallTruth(call.id, wanted.tool, payload_hash(wanted.arguments.encode()), told_by(call.output))
