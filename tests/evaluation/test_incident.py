"""The incident's caller, against a tool that is as slow as the incident's was."""

from __future__ import annotations

from msgspec.structs import replace

from evaluation.incident import FIRST, SECOND, TOOL_LATENCIES_MS, Caller, Event, executions
from tests.evaluation.conftest import ToolsFactory, effect

SPEED = 5.0
"""Slow enough that a fifth of a second lies between the caller's patience and the tool's answer."""


async def test_caller_gives_up_sends_again_and_makes_two_tickets(tools: ToolsFactory) -> None:
    """Without a guard the incident takes its course: time-out, second attempt, two executions of one payload."""
    async with tools(*(latency / 1000 / SPEED for latency in TOOL_LATENCIES_MS)) as tool:
        told = await Caller(tool.session, tool.address.url, SPEED).live_through()
        audit = await tool.audit("settled=true")
    assert told.first is None
    assert told.second is not None
    assert (told.second.status, told.second.audit_id) == (201, "tkt_772901")
    assert [(event.what, event.req) for event in told.events] == [
        ("status", ""),
        ("sent", FIRST),
        ("timeout", FIRST),
        ("sent", SECOND),
        ("answer", SECOND),
    ]
    assert {(entry.audit_id, entry.request_id) for entry in audit.entries} == {
        ("tkt_772900", FIRST),
        ("tkt_772901", SECOND),
    }
    assert len(audit.entries) == 2
    assert len({entry.payload_hash for entry in audit.entries}) == 1


async def test_caller_that_is_answered_does_not_send_again(tools: ToolsFactory) -> None:
    """A second attempt follows a time-out only."""
    async with tools(0) as tool:
        told = await Caller(tool.session, tool.address.url, SPEED).live_through()
        audit = await tool.audit()
    assert told.first is not None
    assert told.first.audit_id == "tkt_772900"
    assert told.second is None
    assert audit.arrivals == 1


def test_clock_reads_the_incidents_time_of_day() -> None:
    """A timeline starts at 14:12:09.003, and its second attempt falls where the incident's did."""
    assert Event(0, "coordinator", "INFO", "", "status").clock == "14:12:09.003"
    assert Event(10_038, "tool-exec", "INFO", "", "sent").clock == "14:12:19.041"
    assert Event(51_000, "tool-exec", "INFO", "", "sent").clock == "14:13:00.003"


def test_effects_become_lines_in_the_incidents_time() -> None:
    """An effect is placed on its timeline at its own time, scaled like everything else."""
    late = replace(effect("tkt_1", "gw_1"), ts=1000.5)
    (line,) = executions((late,), began=1000.0, speed=4.0)
    assert (line.at_ms, line.component, line.req) == (2000, "tool", "gw_1")
    assert "tool_audit_id=tkt_1" in line.message
