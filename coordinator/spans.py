"""A coordinator's spans: `start_turn`, and `run_step` for each step, within which its calls are asked of the sidecar.

A run's record says which span it was started in (`coordinator.records.Run.trace`), so a step belongs to the trace of
its turn whichever replica keeps the run. A step that another replica takes over has a span at each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from coordinator.records import Run
from process.tracing import PARENT, STATE, Span, Tracing, Value, is_parent


@contextlib.contextmanager
def turn_span(tracing: Tracing | None, fields: Mapping[str, str]) -> Iterator[Span | None]:
    """Have a span of a request to start a turn, below its caller's; None without tracing."""
    if tracing is None:
        yield None
        return
    span = tracing.begin("start_turn", {}, fields.get(PARENT, ""), fields.get(STATE, ""), "server")
    try:
        yield span
    except BaseException as error:
        span.end(type(error).__name__)
        raise
    span.end()


def caller_of(tracing: Tracing | None, fields: Mapping[str, str]) -> str:
    """Return the span that a request to track a run came from; empty without tracing, or if it names none."""
    parent = fields.get(PARENT, "")
    return parent if tracing is not None and is_parent(parent) else ""


class StepSpan:
    """The span of the step that a run waits in, as far as this process works on it."""

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing
        self._span: Span | None = None
        self._step_id = ""

    def within(self, run: Run) -> str:
        """Return what the calls of the run's newest step are asked within, as a traceparent; empty without tracing."""
        step = run.step
        if self._tracing is None or step is None:
            return ""
        if self._span is None or self._step_id != step.step_id:
            self.end("superseded")
            told: dict[str, Value] = {
                "gen_ai.conversation.id": run.thread_id,
                "holdfast.run_id": run.run_id,
                "holdfast.step_id": step.step_id,
                "holdfast.calls": len(step.calls),
            }
            self._span, self._step_id = self._tracing.begin("run_step", told, run.trace), step.step_id
        return self._span.parent

    def end(self, result: str) -> None:
        """The step is over here: its outputs were `accepted`, or why they were not handed in by this process."""
        if self._span is not None:
            self._span.set({"holdfast.result": result})
            self._span.end()
            self._span = None
