"""The incident's caller, against a tool that is as slow as the incident's was."""

from __future__ import annotations

from evaluation.incident import FIRST, SECOND, TOOL_LATENCIES_MS, Caller, Event, executions
from evaluation.ticket_tool import Entry
from tests.evaluation.conftest import ToolFactory

SPEED = 20.0


async def test_caller_gives_up_sends_again_and_makes_two_tickets(ticket_tool: ToolFactory) -> None:
    """Without a guard the incident takes its course: time-out, second attempt, two executions of one payload."""
    async with ticket_tool(*(latency / 1000 / SPEED for latency in TOOL_LATENCIES_MS)) as tool:
        told = await Caller(tool.session, tool.address.url, SPEED).live_through()
        ledger = await tool.ledger("settled=true")
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
    assert [(entry.audit_id, entry.req) for entry in ledger.entries] == [("tkt_772901", SECOND), ("tkt_772900", FIRST)]
    assert len({entry.payload_hash for entry in ledger.entries}) == 1


async def test_caller_that_is_answered_does_not_send_again(ticket_tool: ToolFactory) -> None:
    """A second attempt follows a time-out only."""
    async with ticket_tool(0) as tool:
        told = await Caller(tool.session, tool.address.url, SPEED).live_through()
        ledger = await tool.ledger()
    assert told.first is not None
    assert told.first.audit_id == "tkt_772900"
    assert told.second is None
    assert ledger.arrivals == 1


def test_clock_reads_the_incidents_time_of_day() -> None:
    """A timeline starts at 14:12:09.003, and its second attempt falls where the incident's did."""
    assert Event(0, "coordinator", "INFO", "", "status").clock == "14:12:09.003"
    assert Event(10_038, "tool-exec", "INFO", "", "sent").clock == "14:12:19.041"
    assert Event(51_000, "tool-exec", "INFO", "", "sent").clock == "14:13:00.003"


def test_ledger_entries_become_lines_in_the_incidents_time() -> None:
    """An entry is placed on its timeline at its own time, scaled like everything else."""
    entry = Entry("tkt_1", "create_ticket", "gw_1", "u", "r", "c", "", "h", ts=1000.5)
    (line,) = executions((entry,), began=1000.0, speed=4.0)
    assert (line.at_ms, line.component, line.req) == (2000, "tool", "gw_1")
    assert "tool_audit_id=tkt_1" in line.message
