"""The ticket tool's ledger is the truth about executions."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from evaluation.ticket_tool import Entry
from tests.evaluation.conftest import RunningTool, ToolFactory

IDS = {"X-Run-Id": "run_1", "X-Tool-Call-Id": "call_1", "X-User-Id": "usr_1"}


async def call(tool: RunningTool, req: str, name: str = "create_ticket", body: bytes = b'{"a": 1}') -> dict[str, Any]:
    """Make one call and return the answer, which must be a 201."""
    url = f"{tool.address.url}/tools/{name}"
    async with tool.session.post(url, data=body, headers={**IDS, "X-Request-Id": req}) as response:
        assert response.status == 201
        answer: dict[str, Any] = await response.json()
        return answer


async def test_answered_call_is_in_file_and_ledger_alike(ticket_tool: ToolFactory) -> None:
    """An execution that was answered is in the ledger's file, with who asked and what was answered."""
    async with ticket_tool() as tool:
        answer = await call(tool, "gw_1")
        entry = msgspec.json.decode(tool.path.read_bytes(), type=Entry)
        ledger = await tool.ledger()
    assert ledger.entries == (entry,)
    assert (entry.audit_id, entry.req, entry.run, entry.user) == (answer["id"], "gw_1", "run_1", "usr_1")
    assert entry.audit_id == "tkt_772900"
    assert (ledger.arrivals, ledger.in_flight) == (1, 0)


async def test_same_call_twice_is_executed_twice(ticket_tool: ToolFactory) -> None:
    """The tool honours no key: identical calls have an effect each, with the same payload hash and ids of their own."""
    async with ticket_tool() as tool:
        first, second = await call(tool, "gw_1"), await call(tool, "gw_2")
        ledger = await tool.ledger()
    assert first["id"] != second["id"]
    assert len({entry.payload_hash for entry in ledger.entries}) == 1
    assert [entry.req for entry in ledger.entries] == ["gw_1", "gw_2"]


async def test_caller_hangs_up_and_effect_takes_place(ticket_tool: ToolFactory) -> None:
    """A caller that gives up stops nothing: its call is in flight first, and in the ledger in the end."""
    async with ticket_tool(0.3) as tool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await call(tool, "gw_1")
        abandoned = await tool.ledger()
        ledger = await tool.ledger("settled=true")
    assert (abandoned.arrivals, abandoned.in_flight, abandoned.entries) == (1, 1, ())
    assert [entry.req for entry in ledger.entries] == ["gw_1"]


async def test_latencies_follow_order_of_arrival(ticket_tool: ToolFactory) -> None:
    """The first attempt has the script's first latency, the second its second; numbers are given on arrival."""
    async with ticket_tool(30, 0) as tool:
        slow = asyncio.create_task(call(tool, "gw_1"))
        await tool.ledger("arrivals=1")
        fast = await call(tool, "gw_2")
        ledger = await tool.ledger()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
    assert fast["id"] == "tkt_772901"
    assert [entry.req for entry in ledger.entries] == ["gw_2"]
    assert ledger.in_flight == 1


async def test_restarted_tool_keeps_its_ledger_and_goes_on_numbering(ticket_tool: ToolFactory) -> None:
    """A tool that starts over a ledger still shows what is in it and gives no audit id twice."""
    async with ticket_tool() as tool:
        first = await call(tool, "gw_1")
    async with ticket_tool() as tool:
        second = await call(tool, "gw_2", "send_email")
        ledger = await tool.ledger()
    assert [entry.audit_id for entry in ledger.entries] == [first["id"], second["id"]]
    assert second["id"] == "eml_772901"


async def test_read_leaves_no_trace(ticket_tool: ToolFactory, session: aiohttp.ClientSession) -> None:
    """A GET has no effect, so the ledger knows nothing of it."""
    async with ticket_tool() as tool:
        async with session.get(f"{tool.address.url}/tools/search_kb") as response:
            assert response.status == 200
        ledger = await tool.ledger()
    assert (ledger.arrivals, ledger.entries) == (0, ())
