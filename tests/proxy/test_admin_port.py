"""The admin port over HTTP: what an operator sees of operations, rules on them, and who is turned away."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from proxy.admin_port import BODY_BYTES_MAX
from proxy.tail import TAILS_MAX
from tests.proxy.desk import JSON, RULING, desk
from tests.proxy.house import policy
from tests.proxy.scripted import Answers, Cuts
from tests.proxy.world import arrival, told

EXECUTED = {"outcome": "executed", "reason": "r", "actor": "a"}


async def test_unknown_operations_are_listed_oldest_first_with_all_that_can_end_them(tmp_path: Path) -> None:
    """What is unknown, since when, why, and whose call it was."""
    async with desk(tmp_path) as now:
        first = await now.unknown("call_1")
        second = await now.unknown("call_2")
        assert told(await now.world.a.answer(arrival("call_3")))[0] == 200
        answer = await now.get("/v1/operations?state=unknown")
        assert answer.headers["Cache-Control"] == "no-store"
        listed = (await answer.json())["operations"]
        assert [told["operation"] for told in listed] == [first, second]
        assert listed[0]["tool"] == "create_ticket"
        assert listed[0]["run_id"] == "run_1"
        assert listed[0]["tool_call_id"] == "call_1"
        assert listed[0]["why"] == "lost"
        assert listed[0]["can_end"] == ["a ruling"]
        everything = (await (await now.get("/v1/operations")).json())["operations"]
        assert {told["state"] for told in everything} == {"unknown", "completed"}


async def test_listing_goes_on_by_its_cursor_and_ends(tmp_path: Path) -> None:
    """Page by page, each operation once."""
    async with desk(tmp_path) as now:
        made = [await now.unknown(f"call_{number}") for number in range(5)]
        seen: list[str] = []
        cursor = ""
        while True:
            page = await (await now.get(f"/v1/operations?state=unknown&limit=2&cursor={cursor}")).json()
            seen += [told["operation"] for told in page["operations"]]
            cursor = page["cursor"]
            if not cursor:
                break
        assert seen == made


@pytest.mark.parametrize(
    ("query", "calls"),
    [("tool=create_ticket", 2), ("tool=other", 0), ("run=run_1", 2), ("run=run_2", 0), ("thread=thread_9", 0),
     ("since=1h", 2), ("since=2099-01-01T00:00:00Z", 0)],
)  # fmt: skip
async def test_listing_is_narrowed_by_what_is_asked_for(tmp_path: Path, query: str, calls: int) -> None:
    """Tool, run, thread and time."""
    async with desk(tmp_path) as now:
        for number in range(2):
            await now.unknown(f"call_{number}")
        listed = (await (await now.get(f"/v1/operations?state=unknown&{query}")).json())["operations"]
        assert len(listed) == calls


async def test_operation_is_shown_with_its_whole_history_and_no_secret(tmp_path: Path) -> None:
    """Which attempt did what and when; no token, no body."""
    async with desk(tmp_path) as now:
        operation = await now.unknown()
        answer = await now.get(f"/v1/operations/{operation}")
        text = await answer.text()
        shown = json.loads(text)
        assert [(line["what"], line["attempt"]) for line in shown["history"]] == [("claimed", 1), ("lost", 1)]
        assert shown["state"] == "unknown"
        assert "printer" not in text
        record = await now.world.record()
        assert record is not None
        assert record.token not in text


async def test_operation_of_a_tenant_that_no_policy_names_is_found_all_the_same(tmp_path: Path) -> None:
    """By the index of what is unknown, or by looking through the store."""
    async with desk(tmp_path) as now:
        for call, step in (("call_1", Cuts(after_s=0)), ("call_2", Answers())):
            asked = arrival(call, tenant="nobody-knows")
            now.world.tool.will(step)
            await now.world.a.answer(asked)
            assert (await now.get(f"/v1/operations/{asked.ref.operation}")).status == 200


@pytest.mark.parametrize("operation", ["op_" + "0" * 40, "op_nonsense", "%2e%2e"])
async def test_operation_that_is_not_there_is_not_found(tmp_path: Path, operation: str) -> None:
    """404, as a problem."""
    async with desk(tmp_path) as now:
        answer = await now.get(f"/v1/operations/{operation}")
        assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_run_shows_its_operations_in_the_order_of_their_claims(tmp_path: Path) -> None:
    """And a run that nobody has heard of is 404."""
    async with desk(tmp_path) as now:
        made = []
        for number in range(3):
            made.append(await now.unknown(f"call_{number}"))
            await asyncio.sleep(0.002)
        shown = await (await now.get("/v1/runs/run_1")).json()
        assert [told["operation"] for told in shown["operations"]] == made
        assert shown["complete"] is True
        assert (await now.get("/v1/runs/run_2")).status == 404


async def test_ruling_is_put_in_force_and_answered_with_the_operation(tmp_path: Path) -> None:
    """Not executed: free, to be forwarded again; who ruled and why is in the history."""
    async with desk(tmp_path) as now:
        operation = await now.unknown()
        answer = await now.post(f"/v1/operations/{operation}/resolve", RULING)
        assert answer.status == 200
        ruled = await answer.json()
        assert ruled["state"] == "free"
        assert ruled["history"][-1]["detail"] == "not executed, says ada: OPS-1: no such ticket"
        assert now.world.a.count("holdfast_rulings_total", tool="create_ticket", outcome="not_executed") == 1
        assert told(await now.world.b.answer()) == (200, "", "executed")
        again = await now.post(f"/v1/operations/{operation}/resolve", RULING)
        assert again.status == 409
        problem = await again.json()
        assert (problem["state"], problem["operation"]) == ("completed", operation)


@pytest.mark.parametrize(
    ("ruling", "field"),
    [
        ({}, "outcome"),
        ({"outcome": "perhaps", "reason": "r", "actor": "a"}, "outcome"),
        ({"outcome": "executed", "actor": "a"}, "reason"),
        ({"outcome": "executed", "reason": " ", "actor": "a"}, "reason"),
        ({"outcome": "executed", "reason": "x" * 501, "actor": "a"}, "reason"),
        ({"outcome": "executed", "reason": "r"}, "actor"),
        ({"outcome": "executed", "reason": "r", "actor": "a\x1b[2J"}, "actor"),
        ({"outcome": "executed", "reason": "r", "actor": "a", "extra": 1}, "extra"),
        ({"outcome": "not_executed", "reason": "r", "actor": "a", "response": {}}, "response"),
        (EXECUTED | {"response": {"status": 99}}, "response.status"),
        (EXECUTED | {"response": {"status": "x"}}, "response.status"),
        (EXECUTED | {"response": {"headers": {"a b": "c"}}}, "response.headers"),
        (EXECUTED | {"response": {"headers": {"a": "b\r\nc: d"}}},
         "response.headers"),
        (EXECUTED | {"response": {"body_base64": "?"}}, "response.body_base64"),
    ],
)  # fmt: skip
async def test_ruling_that_is_wrong_is_refused_by_the_name_of_its_field(
    tmp_path: Path, ruling: dict[str, Any], field: str
) -> None:
    """400, and nothing has changed."""
    async with desk(tmp_path) as now:
        operation = await now.unknown()
        answer = await now.post(f"/v1/operations/{operation}/resolve", ruling)
        problem = await answer.json()
        assert (answer.status, problem["field"]) == (400, field)
        assert (await (await now.get(f"/v1/operations/{operation}")).json())["state"] == "unknown"


async def test_response_that_the_policy_would_not_keep_is_refused(tmp_path: Path) -> None:
    """413 names the limit and the way out."""
    async with desk(tmp_path) as now:
        operation = await now.unknown()
        ruling = RULING | {"outcome": "executed", "response": {"body": "x" * (1024 * 1024 + 1)}}
        answer = await now.post(f"/v1/operations/{operation}/resolve", ruling)
        assert answer.status == 413
        assert "result.maxBody" in (await answer.json())["detail"]


@pytest.mark.parametrize(
    ("path", "field"),
    [("state=lost", "state"), ("limit=0", "limit"), ("limit=501", "limit"), ("limit=x", "limit"), ("since=1", "since"),
     ("since=yesterday", "since"), ("cursor=nonsense", "cursor"), ("tools=x", "tools"), ("tool=a&tool=b", "tool"),
     ("cursor=" + "x" * 4_097, "cursor")],
)  # fmt: skip
async def test_query_that_is_wrong_is_refused_by_the_name_of_its_parameter(
    tmp_path: Path, path: str, field: str
) -> None:
    """A filter that was mistyped must not list everything."""
    async with desk(tmp_path) as now:
        answer = await now.get(f"/v1/operations?{path}")
        assert (answer.status, (await answer.json())["field"]) == (400, field)


async def test_body_has_a_limit(tmp_path: Path) -> None:
    """413."""
    async with desk(tmp_path) as now:
        answer = await now.client.post(
            "/v1/operations/op_1/resolve", data=io.BytesIO(b" " * (BODY_BYTES_MAX + 1)), headers=JSON
        )
        assert answer.status == 413


async def test_policies_are_shown_and_reloaded_and_a_fault_is_told(tmp_path: Path) -> None:
    """A bad change is a 422 with every fault; the last good set stays."""
    async with desk(tmp_path) as now:
        shown = await (await now.get("/v1/policies")).json()
        assert [policy["tool"] for policy in shown["policies"]] == ["create_ticket"]
        (now.policies / "tools.yaml").write_text(policy("create_ticket") + policy("send_email"))
        reloaded = await (await now.post("/v1/policies/reload")).json()
        assert reloaded["generation"] == shown["generation"] + 1
        (now.policies / "tools.yaml").write_text(policy("create_ticket", "mode: perhaps"))
        answer = await now.post("/v1/policies/reload")
        assert answer.status == 422
        assert "mode" in (await answer.json())["faults"][0]
        assert len((await (await now.get("/v1/policies")).json())["policies"]) == 2


async def test_lost_memory_is_accepted_over_http(tmp_path: Path) -> None:
    """And the answer says whether there was anything to accept."""
    async with desk(tmp_path) as now:
        assert (await (await now.post("/v1/store/accept")).json())["accepted"] is False


async def test_store_that_is_away_is_a_503_with_its_word(tmp_path: Path) -> None:
    """Not a 404: nobody knows."""
    async with desk(tmp_path) as now:
        now.world.a.gate.outage = True
        for path in ("/v1/operations", f"/v1/operations/op_{'0' * 40}", "/v1/runs/run_1"):
            assert (await now.get(path)).status == 503
        now.world.a.gate.outage = False


async def _events(answer: ClientResponse, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(10):
        async for line in answer.content:
            if line.startswith(b"data: "):
                told: dict[str, Any] = json.loads(line[6:])
                assert wanted(told)
                return told
    raise AssertionError("no event")


async def test_events_follow_what_happens_from_now_on(tmp_path: Path) -> None:
    """Narrowed by field; a debug line as well, whatever goes to stdout."""
    async with desk(tmp_path) as now:
        async with now.client.get("/v1/events?event=settled") as answer:
            assert answer.content_type == "text/event-stream"
            await answer.content.readuntil(b"\n\n")
            operation = await now.unknown()
            event = await _events(answer, lambda told: told["event"] == "settled")
            assert event["operation"] == operation
        for _ in range(100):
            if not now.world.a.log.tails:
                break
            await now.unknown("call_2")
            await asyncio.sleep(0.01)
        assert now.world.a.log.tails == [], "a listener that hung up is forgotten with the next line"


async def test_events_have_a_bounded_number_of_listeners(tmp_path: Path) -> None:
    """One too many gets 503."""
    async with desk(tmp_path) as now, contextlib.AsyncExitStack() as stack:
        for _ in range(TAILS_MAX):
            answer = await stack.enter_async_context(now.client.get("/v1/events"))
            await answer.content.readuntil(b"\n\n")
        assert (await now.get("/v1/events")).status == 503
