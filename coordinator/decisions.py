"""What a run wants done, as its record stands: pure, so that every replica comes to the same answer."""

from __future__ import annotations

from msgspec import Struct

from coordinator.backend import ASKING, Output
from coordinator.records import Call, Run, Step


class Wants(Struct, frozen=True):
    """What is to be done for a run.

    execute   calls to ask the proxy for, or to go on asking for.
    overdue   calls that get an error for an output now, because there is no more time.
    submit    the step whose outputs are to be handed in; None as long as one is missing, or nobody asks.
    until_ms  when the next call is overdue; 0 if none will be.
    """

    execute: tuple[Call, ...] = ()
    overdue: tuple[Call, ...] = ()
    submit: Step | None = None
    until_ms: int = 0


NOTHING = Wants()


def wants(run: Run, now_ms: int, margin_ms: int, asked_until_ms: int = 0) -> Wants:
    """Return what `run` wants at `now_ms`; see `deadline_of` for when calls are overdue."""
    step = run.step
    if run.over or step is None or run.status != ASKING:
        return NOTHING
    if step.state != "open":
        return NOTHING  # an attempt whose end is not known is asked about by the next look (`transitions.in_doubt`)
    if step.whole:
        return Wants(submit=step)
    open_calls = [
        (call, deadline_of(call, run, margin_ms, asked_until_ms)) for call in step.calls if call.given is None
    ]
    timely = [(call, until) for call, until in open_calls if until > now_ms]
    return Wants(
        execute=tuple(call for call, _ in timely if not call.stray),
        overdue=tuple(call for call, until in open_calls if until <= now_ms),
        until_ms=min((until for _, until in timely), default=0),
    )


def waits_since(run: Run) -> int | None:
    """Return since when `run` has waited for outputs, in Unix milliseconds; None if it waits for none."""
    step = run.step
    if run.over or step is None or run.status != ASKING or step.state not in {"open", "submitting"}:
        return None
    return step.since_ms


def deadline_of(call: Call, run: Run, margin_ms: int, asked_until_ms: int = 0) -> int:
    """Return until when there is time for a call, in Unix milliseconds: until its own deadline, or `asked_until_ms`, if
    that is later; `margin_ms` before the run expires, at the latest."""
    until_ms = call.deadline_ms if call.stray else max(call.deadline_ms, asked_until_ms)
    return min(until_ms, run.expires_ms - margin_ms) if run.expires_ms else until_ms


def outputs_of(step: Step) -> list[Output]:
    """Return what is handed in for a whole step, in the order of its calls."""
    outputs = []
    for call in step.calls:
        assert call.given is not None
        assert call.given.output is not None
        outputs.append(Output(call.tool_call_id, call.given.output))
    return outputs
