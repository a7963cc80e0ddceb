"""Spans of calls: one for each request, linked to the one that the call was executed in, whoever asks and where."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import ReadableSpan

from ledger.records import decode
from ledger.stores.memory import MemoryStore
from proxy.traces import CallSpan
from tests.ledger.samples import completed
from tests.process.spans_kept import KeptTracing, links_of, parent_of
from tests.proxy.callers import Answer, ask, call
from tests.proxy.door import Door, door
from tests.proxy.house import policy, policy_folder
from tests.proxy.tools import Gate, Script, Tool, says, waits
from tests.proxy.world import arrival

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-01"
REPLY = b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nticket"
POLICIES = (
    policy("act")
    + policy("look", "effect: read", "match: {method: [POST], path: /tools/look}")
    + policy("twin", "effectKey: {fields: [body:/subject], scope: tenant, window: 90s, then: replay}")
)


class Pair:
    """Two data ports over one store, both traced, and the tool behind them."""

    def __init__(self, doors: tuple[Door, Door], tool: Tool, tracing: KeptTracing) -> None:
        self.doors = doors
        self.tool = tool
        self.tracing = tracing

    async def ask(
        self, run: str, *fields: tuple[str, str], at: int = 0, tool: str = "act", script: Script | None = None
    ) -> Answer:
        """Call a tool through one of the ports."""
        asked = call(run, *fields, script=self.tool.script(script or says(REPLY)), tool=tool)
        return await asyncio.to_thread(ask, self.doors[at].port, asked)

    def spans(self) -> list[ReadableSpan]:
        """Return all spans, in the order of their end."""
        return self.tracing.spans()


@pytest.fixture
async def pair(tmp_path: Path, tool: Tool) -> AsyncIterator[Pair]:
    """Two ports."""
    policies = policy_folder(tmp_path / "policies", POLICIES)
    tracing, store = KeptTracing(), MemoryStore()
    async with contextlib.AsyncExitStack() as stack:
        doors = [
            await stack.enter_async_context(door(policies, tool.url, tracing=tracing, kept=store)) for _ in range(2)
        ]
        yield Pair((doors[0], doors[1]), tool, tracing)
        tracing.close()


def told(span: ReadableSpan) -> dict[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})


async def test_execution_is_a_span_below_the_callers_and_the_tool_is_below_it(pair: Pair) -> None:
    """The tool is told of our span in place of the caller's; the state of the trace goes on as it came."""
    answer = await pair.ask("run-1", ("traceparent", PARENT), ("tracestate", "vendor=7"), ("X-Thread-Id", "thread-1"))
    (execution,) = pair.tool.executions("run-1")
    (span,) = pair.spans()
    assert execution.get(b"traceparent").decode() == parent_of(span)
    assert execution.get(b"tracestate") == b"vendor=7"
    assert span.name == "execute_tool act"
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, CALLER)
    assert told(span) | {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "act",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call-1",
        "gen_ai.conversation.id": "thread-1",
        "holdfast.operation": answer.get("Holdfast-Operation"),
        "holdfast.outcome": "executed",
        "holdfast.attempt": 1,
        "http.response.status_code": 201,
    } == told(span)
    assert span.links == ()


async def test_call_without_a_trace_begins_one(pair: Pair) -> None:
    """And the state of a trace that nobody can tell is not passed on."""
    await pair.ask("run-1", ("traceparent", "nonsense"), ("tracestate", "vendor=7"))
    (execution,) = pair.tool.executions("run-1")
    (span,) = pair.spans()
    assert span.parent is None
    assert execution.get(b"traceparent").decode() == parent_of(span)
    assert execution.get(b"tracestate") == b""


@pytest.mark.parametrize("at", [0, 1], ids=["here", "at another replica"])
async def test_replay_is_a_span_of_its_own_linked_to_the_execution(pair: Pair, at: int) -> None:
    """In the trace of whoever asked again; what it is linked to is in the record, so any replica knows it."""
    await pair.ask("run-1", ("traceparent", PARENT))
    answer = await pair.ask("run-1", ("traceparent", OTHER), at=at)
    assert answer.outcome == "replayed"
    execution, replay = pair.spans()
    assert parent_of(replay).startswith(OTHER[:36])
    assert links_of(replay) == [parent_of(execution)]
    assert told(replay)["holdfast.outcome"] == "replayed"
    assert told(replay)["holdfast.operation"] == told(execution)["holdfast.operation"]


@pytest.mark.parametrize("at", [0, 1], ids=["here", "at another replica"])
async def test_join_is_linked_to_the_execution(pair: Pair, at: int) -> None:
    """Whoever waits for a call in flight is answered from where it was executed."""
    gate = Gate()
    async with asyncio.TaskGroup() as asking:
        first = asking.create_task(pair.ask("run-1", script=waits(gate, says(REPLY))))
        await asyncio.to_thread(gate.await_reached)
        second = asking.create_task(pair.ask("run-1", ("traceparent", OTHER), at=at))
        while not any(joint.joins for joint in pair.doors[at].works.joints.values()):  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0.005)
        gate.open()
    assert (first.result().outcome, second.result().outcome) == ("executed", "joined")
    by_outcome = {told(span)["holdfast.outcome"]: span for span in pair.spans()}
    assert links_of(by_outcome["joined"]) == [parent_of(by_outcome["executed"])]
    assert by_outcome["executed"].links == ()


async def test_result_of_an_equal_call_is_linked_to_where_that_was_executed(pair: Pair) -> None:
    """Its effect was another call's: that one's span, of another trace and another id."""
    await pair.ask("run-1", ("traceparent", PARENT), tool="twin")
    answer = await pair.ask("run-2", ("traceparent", OTHER), tool="twin")
    assert answer.outcome == "replayed"
    execution, replay = pair.spans()
    assert links_of(replay) == [parent_of(execution)]
    assert told(replay)["holdfast.effect_of"] == told(execution)["holdfast.operation"]


async def test_unknown_outcome_is_an_error_and_who_asks_again_is_led_to_it(pair: Pair) -> None:
    """What is not known is where that came about."""
    await pair.ask("run-1", script=lambda wire, _: wire.reset())
    answer = await pair.ask("run-1")
    assert answer.said == (409, "unknown", "outcome-unknown")
    lost, again = pair.spans()
    assert told(lost)["error.type"] == told(again)["error.type"] == "outcome-unknown"
    assert links_of(again) == [parent_of(lost)]


async def test_read_has_its_span_and_a_refused_request_too(pair: Pair) -> None:
    """Neither is known to the ledger, so neither is anybody's execution."""
    await pair.ask("", tool="look")
    answer = await pair.ask("")
    assert answer.problem == "key-missing"
    read, refused = pair.spans()
    assert (read.name, told(read)["holdfast.outcome"], "error.type" in told(read)) == (
        "execute_tool look",
        "read",
        False,
    )
    assert (told(refused)["holdfast.outcome"], told(refused)["error.type"]) == ("refused", "key-missing")
    assert pair.tool.executions("")[0].get(b"traceparent").decode() == parent_of(read)


async def test_call_whose_trace_is_not_sampled_goes_on_untouched(pair: Pair) -> None:
    """No span, no other parent for the tool, nothing in the record; and a replay of it is linked to nothing."""
    await pair.ask("run-1", ("Traceparent", f"00-{TRACE}-{CALLER}-00"), ("tracestate", "vendor=7"))
    (execution,) = pair.tool.executions("run-1")
    names = [name for name, _ in execution.fields]
    assert names.index(b"Traceparent") < names.index(b"tracestate")
    assert execution.get(b"traceparent").decode() == f"00-{TRACE}-{CALLER}-00"
    await pair.ask("run-1", ("traceparent", PARENT))
    (replay,) = pair.spans()
    assert replay.links == ()


async def test_record_names_the_execution_and_no_other_field_of_it_is_traced(pair: Pair) -> None:
    """63 bytes in the record that is written anyway: no round trip of its own, and what an earlier version skips."""
    answer = await pair.ask("run-1", ("traceparent", PARENT))
    operation = answer.get("Holdfast-Operation")
    page = await pair.doors[0].works.books.scan(None, "", 10)
    (place,) = page.places
    record = decode(place.record, operation)
    (span,) = pair.spans()
    assert record.call.trace == parent_of(span)
    writes = [pair.doors[0].counted("holdfast_store_duration_seconds_count", op=op) for op in ("claim", "settle")]
    assert writes == [1, 1]


async def test_log_line_is_of_the_spans_trace(pair: Pair) -> None:
    """The caller's, or the one that began here."""
    lines: list[str] = []

    class Ear:
        def offer(self, line: bytes) -> None:
            told = json.loads(line)
            lines.extend([told["trace_id"]] if told["event"] == "request" else [])

        def close(self) -> None:
            pass

    pair.doors[0].log.tails.append(Ear())
    await pair.ask("run-1", ("traceparent", PARENT))
    await pair.ask("run-2")
    pair.doors[0].log.flush()
    first, second = pair.spans()
    assert lines == [parent_of(first)[3:35], parent_of(second)[3:35]]
    assert lines[0] == TRACE


async def test_without_tracing_trace_fields_go_on_as_they_come(tmp_path: Path, tool: Tool) -> None:
    """To the byte and in their place, good or bad; the record says nothing of a trace."""
    policies = policy_folder(tmp_path / "policies", POLICIES)
    async with door(policies, tool.url) as opened:
        for number, parent in enumerate((PARENT, "nonsense")):
            fields = (("X-Before", "1"), ("TraceParent", parent), ("tracestate", "vendor=7"), ("X-After", "2"))
            asked = call(f"run-{number}", *fields, script=tool.script(says(REPLY)))
            await asyncio.to_thread(ask, opened.port, asked)
            (execution,) = tool.executions(f"run-{number}")
            names = [name for name, _ in execution.fields]
            first = names.index(b"X-Before")
            assert names[first : first + 4] == [b"X-Before", b"TraceParent", b"tracestate", b"X-After"]
            assert execution.get(b"traceparent").decode() == parent
        for place in (await opened.works.books.scan(None, "", 10)).places:
            assert b"trace" not in place.record


def test_span_is_linked_once_and_never_to_itself() -> None:
    """However often a request looks at the record, and when the record came to be within it."""
    tracing = KeptTracing()
    ours, other = tracing.begin("execute_tool act", {}), tracing.begin("execute_tool act", {})
    asked = arrival()
    span = CallSpan(ours)
    taken = span.taken_by(asked)
    assert (taken.span, taken.call) == (span, replace(asked.call, trace=ours.parent))
    for trace in (ours.parent, other.parent, other.parent, "", "nonsense"):
        span.follows(replace(completed(), call=replace(asked.call, trace=trace)))
    span.follows(None)
    ours.end()
    (kept,) = tracing.spans()
    assert links_of(kept) == [other.parent]
