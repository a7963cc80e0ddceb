"""Spans of turns and steps, in the trace of whoever started the turn, whichever replica works on it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import ReadableSpan

from coordinator.spans import StepSpan, caller_of, turn_span
from coordinator.turns import Started, TurnAsk
from process.tracing import is_parent
from tests.coordinator.house import House, Replica, house, looked_for, wanted
from tests.coordinator.run_samples import begun, opened, superseded
from tests.process.spans_kept import KeptTracing, parent_of
from tests.proxy.virtual import in_virtual_time

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
TICKET = wanted("create_ticket", subject="Printer on fire")
MAIL = wanted("send_email", to="a@example.com")


def traced(now: House, tracing: KeptTracing) -> Replica:
    """Start a replica whose spans are kept."""
    replica = now.replica()
    replica.means.tracing = tracing
    return replica


def told(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


async def started(now: House, trace: str) -> str:
    """Start a turn of two steps within the span that `trace` names; return the run's id."""
    now.api.plans["plan"] = [[TICKET, MAIL], [TICKET]]
    answer = await now.replicas[0].turns.start(TurnAsk("turn-1", "plan", "asst_1"), trace)
    assert isinstance(answer, Started)
    return answer.run_id


@in_virtual_time
async def test_each_step_is_a_span_below_its_turn_and_its_calls_are_asked_within_it() -> None:
    """What the sidecar is told is the step's span; it ends once its outputs were taken."""
    tracing = KeptTracing()
    async with house() as now:
        traced(now, tracing)
        run_id = await started(now, PARENT)
        record = await now.ended(run_id)
        asked = [ask.traceparent for ask in now.tools.asked]
    first, second = tracing.spans()
    assert asked == [parent_of(first)] * 2 + [parent_of(second)]
    for span, step, calls in ((first, record.steps[0], 2), (second, record.steps[1], 1)):
        assert span.name == "run_step"
        assert span.parent is not None
        assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, CALLER)
        assert told(span) == {
            "gen_ai.conversation.id": record.thread_id, "holdfast.run_id": run_id, "holdfast.step_id": step.step_id,
            "holdfast.calls": calls, "holdfast.result": "accepted",
        }  # fmt: skip


@in_virtual_time
async def test_replica_that_takes_a_run_over_goes_on_in_the_same_trace() -> None:
    """The record says which; the step has a span at each of them."""
    tracing = KeptTracing()
    async with house() as now:
        first = traced(now, tracing)
        now.tools.takes_s["create_ticket"] = 5.0
        run_id = await started(now, PARENT)

        async def begun_at_the_tool() -> bool:
            return bool(now.tools.asked)

        await looked_for(begun_at_the_tool)
        traced(now, tracing)
        await first.watching.stop(10)
        await now.ended(run_id)
        traces = {ask.traceparent for ask in now.tools.asked if ask.tool == "create_ticket"}
    spans = tracing.spans()
    assert [told(span)["holdfast.result"] for span in spans] == ["let go", "accepted", "accepted"]
    assert {span.context.trace_id for span in spans if span.context is not None} == {int(TRACE, 16)}
    assert traces == {parent_of(span) for span in spans}


@in_virtual_time
async def test_without_tracing_the_sidecar_is_told_of_no_trace_and_nothing_is_written() -> None:
    """Neither in the run nor in its turn."""
    async with house() as now:
        now.replica()
        record = await now.ended(await started(now, ""))
        assert {ask.traceparent for ask in now.tools.asked} == {""}
        assert record.trace == ""


def test_span_of_a_request_for_a_turn_is_its_callers_child() -> None:
    """And an error of one is its kind; without tracing there is none."""
    tracing = KeptTracing()
    with turn_span(tracing, {"traceparent": PARENT, "tracestate": "vendor=7"}) as span:
        assert span is not None
        assert span.trace_id == TRACE
        assert is_parent(span.parent)
    with pytest.raises(ConnectionError), turn_span(tracing, {}):
        raise ConnectionError
    good, bad = tracing.spans()
    assert (good.name, told(good)) == ("start_turn", {})
    assert (bad.parent, told(bad)) == (None, {"error.type": "ConnectionError"})
    with turn_span(None, {"traceparent": PARENT}) as nothing:
        assert nothing is None


def test_tracked_run_belongs_to_the_trace_of_whoever_tracks_it() -> None:
    """If there is one, and it is traced here."""
    tracing = KeptTracing()
    assert caller_of(tracing, {"traceparent": PARENT}) == PARENT
    assert caller_of(tracing, {"traceparent": "nonsense"}) == ""
    assert caller_of(tracing, {}) == ""
    assert caller_of(None, {"traceparent": PARENT}) == ""
    tracing.close()


def test_step_that_another_supersedes_ends_with_it() -> None:
    """One span at a time; a run without steps has none, and what is not sampled is told on as that."""
    tracing = KeptTracing()
    span = StepSpan(tracing)
    assert span.within(begun()) == ""
    first = span.within(opened())
    assert span.within(opened()) == first
    assert span.within(superseded()) != first
    span.end("accepted")
    span.end("accepted")
    unsampled = StepSpan(tracing).within(replace(opened(), trace=f"00-{TRACE}-{CALLER}-00"))
    assert (unsampled[3:35], unsampled[-3:]) == (TRACE, "-00")
    assert [told(one)["holdfast.result"] for one in tracing.spans()] == ["superseded", "accepted"]
