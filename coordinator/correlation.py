"""Which call a posted result belongs to: strictly. What could be meant in two ways is refused, never guessed."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from coordinator.records import Run

Why = Literal["thread-mismatch", "step-mismatch", "unknown-call", "ambiguous"]


class Meant(Struct, frozen=True):
    """The call that a result belongs to, by the name that the proxy knows it by: whichever id it has by now."""

    known_as: str


class Unmatched(Struct, frozen=True):
    """No call, and why: `detail` is for whoever posted the result."""

    why: Why
    detail: str


def correlate(run: Run, thread_id: str, step_id: str, tool_call_id: str, *, complete: bool) -> Meant | Unmatched:
    """Return which of `run`'s calls is meant.

    Without a `tool_call_id` none is, unless `complete` allows for it and exactly one call waits for a result.
    """
    if thread_id != run.thread_id:
        return Unmatched("thread-mismatch", f"run {run.run_id} belongs to another thread")
    if not tool_call_id:
        return _the_only_one(run, step_id) if complete else Unmatched("ambiguous", "tool_call_id is missing")
    homes = [
        (step, call) for step in run.steps for call in step.calls if tool_call_id in {call.tool_call_id, call.known_as}
    ]
    if not homes:
        return Unmatched("unknown-call", f"run {run.run_id} has asked for no call {tool_call_id}")
    names = {call.known_as for step, call in homes if not step_id or step.step_id in {"", step_id}}
    if not names:
        home = homes[-1][0].step_id
        return Unmatched("step-mismatch", f"call {tool_call_id} belongs to step {home}, not to {step_id}")
    if len(names) > 1:
        return Unmatched("ambiguous", f"{tool_call_id} has meant {len(names)} calls of run {run.run_id}")
    return Meant(names.pop())


def _the_only_one(run: Run, step_id: str) -> Meant | Unmatched:
    step = run.step
    if step is None or step.state != "open" or run.over or (step_id and step.step_id not in {"", step_id}):
        return Unmatched("ambiguous", "tool_call_id is missing, and no step waits for a result")
    waiting = [call.known_as for call in step.calls if call.given is None]
    if len(waiting) != 1:
        return Unmatched("ambiguous", f"tool_call_id is missing, and {len(waiting)} calls wait for a result")
    return Meant(waiting[0])
