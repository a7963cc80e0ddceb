"""The ticket tool's ledger is the truth about executions."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import msgspec
import pytest

from evaluation.ticket_tool import Entry
from tests.evaluation.conftest import RunningTool, ToolFactory

IDS = {"X-Run-Id": "run_1", "X-Tool-Call-Id": "call_1", "X-User-Id": "usr_1"}


async def ask(
    tool: RunningTool, req: str, name: str = "create_ticket", body: bytes = b'{"a": 1}', *, operation: str = "",
    key: str = "",
) -> tuple[int, dict[str, Any], bool]:  # fmt: skip
    """Make one call; return status and answer, and whether the tool says that it said so before."""
    headers = {**IDS, "X-Request-Id": req, "Holdfast-Operation": operation, "Idempotency-Key": key}
    sent = {name: value for name, value in headers.items() if value}
    async with tool.session.post(f"{tool.address.url}/tools/{name}", data=body, headers=sent) as response:
        answer: dict[str, Any] = await response.json()
        return response.status, answer, "Idempotent-Replayed" in response.headers


async def call(
    tool: RunningTool, req: str, name: str = "create_ticket", body: bytes = b'{"a": 1}', *, operation: str = "",
    key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Make one call and return the answer, which must be a 201 that was not said before."""
    status, answer, replayed = await ask(tool, req, name, body, operation=operation, key=key)
    assert (status, replayed) == (201, False)
    return answer


async def look_up(tool: RunningTool, operation: str) -> list[dict[str, Any]]:
    """Ask the tool what was done under an operation's name."""
    async with tool.session.get(f"{tool.address.url}/tickets", params={"external_ref": operation}) as response:
        assert response.status == 200
        items: list[dict[str, Any]] = (await response.json())["items"]
        return items


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


async def test_number_of_an_attempt_that_came_to_nothing_is_not_given_to_another(ticket_tool: ToolFactory) -> None:
    """A tool that was killed at its first call goes on after its second."""
    async with ticket_tool(30, 0) as tool:
        slow = asyncio.create_task(call(tool, "gw_1"))
        await tool.ledger("arrivals=1")
        second = await call(tool, "gw_2")
    with contextlib.suppress(aiohttp.ClientError):
        await slow
    async with ticket_tool() as tool:
        third = await call(tool, "gw_3")
    assert (second["id"], third["id"]) == ("tkt_772901", "tkt_772902")


async def test_lookup_finds_what_was_done_under_an_operation_and_nothing_else(ticket_tool: ToolFactory) -> None:
    """What is still being worked on is not there yet: an empty answer does not say that nothing will come."""
    async with ticket_tool(0.3, 0) as tool:
        slow = asyncio.create_task(call(tool, "gw_1", operation="op_1"))
        await tool.ledger("arrivals=1")
        other = await call(tool, "gw_2", operation="op_2")
        too_soon, found = await look_up(tool, "op_1"), await look_up(tool, "op_2")
        first = await slow
        later, unnamed = await look_up(tool, "op_1"), await look_up(tool, "")
        ledger = await tool.ledger()
    assert too_soon == unnamed == []
    assert [ticket["id"] for ticket in found] == [other["id"]]
    assert later == [{**first, "external_ref": "op_1", "created_at": ledger.entries[1].ts}]
    assert ledger.arrivals == 2


async def test_tool_that_honours_keys_acts_once_by_each_whenever_it_is_asked(ticket_tool: ToolFactory) -> None:
    """409 while it is at work, then the same answer again, also from the ledger of a tool that was restarted."""
    async with ticket_tool(0.3, 0, honours="header:Idempotency-Key") as tool:
        first = asyncio.create_task(call(tool, "gw_1", key="k_1"))
        await tool.ledger("arrivals=1")
        assert (await ask(tool, "gw_2", key="k_1"))[0] == 409
        answer = await first
        assert await ask(tool, "gw_3", key="k_1") == (201, answer, True)
        assert (await ask(tool, "gw_4", body=b"{}", key="k_1"))[0] == 422
        assert (await call(tool, "gw_5", key="k_2"))["id"] != answer["id"]
    async with ticket_tool(honours="header:Idempotency-Key") as tool:
        assert await ask(tool, "gw_6", key="k_1") == (201, answer, True)
        await call(tool, "gw_7")
        ledger = await tool.ledger()
    assert [entry.key for entry in ledger.entries] == ["k_1", "k_2", ""]


async def test_tool_finds_its_keys_in_the_body(ticket_tool: ToolFactory) -> None:
    """Some APIs take the key as a field of the request."""
    async with ticket_tool(honours="body:/request_id") as tool:
        answer = await call(tool, "gw_1", body=b'{"request_id": "k_1"}')
        assert await ask(tool, "gw_2", body=b'{"request_id": "k_1"}') == (201, answer, True)
        ledger = await tool.ledger()
    assert [entry.key for entry in ledger.entries] == ["k_1"]


async def test_read_leaves_no_trace(ticket_tool: ToolFactory, session: aiohttp.ClientSession) -> None:
    """A GET has no effect, so the ledger knows nothing of it."""
    async with ticket_tool() as tool:
        async with session.get(f"{tool.address.url}/tools/search_kb") as response:
            assert response.status == 200
        ledger = await tool.ledger()
    assert (ledger.arrivals, ledger.entries) == (0, ())
