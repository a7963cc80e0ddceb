"""The tools over HTTP: acting, reading, looking up, and the truth about it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from evaluation.tools.api import _response
from evaluation.tools.audit import effects_in
from evaluation.tools.work import Told
from tests.evaluation.conftest import ToolsFactory
from tests.evaluation.tools.conftest import IDS, ServedFactory

BODY = {"a": 1}


async def test_caller_hangs_up_and_effect_takes_place(tools: ToolsFactory) -> None:
    """A caller that gives up stops nothing: its call is in flight first, and in the audit in the end."""
    async with tools(0.3) as running:
        call = running.session.post(f"{running.address.url}/tools/create_ticket", json=BODY, headers=IDS)
        asking = asyncio.ensure_future(call)
        abandoned = await running.audit("arrivals=1")
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        audit = await running.audit("settled=true")
    assert (abandoned.arrivals, abandoned.in_flight, abandoned.entries) == (1, 1, ())
    assert [effect.audit_id for effect in audit.entries] == ["tkt_772900"]


async def test_killed_tools_leave_every_effect_in_the_file(tools: ToolsFactory) -> None:
    """Effects whose answers are late are in the file while they are; after kill -9 they still are, and the next tools
    go on from there without giving a number twice."""
    script = "tools: {create_ticket: {rates: {late-answer: 1}, past: [50, 50]}}"
    async with tools(script=script) as running:
        url = f"{running.address.url}/tools/create_ticket"
        calls = [asyncio.ensure_future(running.session.post(url, json={"n": n}, headers=IDS)) for n in range(5)]
        await running.audit("arrivals=5&settled=true")
        os.kill(running.process.pid, signal.SIGKILL)
        for call in calls:
            with pytest.raises(aiohttp.ClientError):
                await call
    assert len({effect.audit_id for effect in effects_in(running.path)}) == 5
    async with tools(0) as running:
        async with running.session.post(f"{running.address.url}/tools/send_email", json=BODY) as response:
            assert response.status == 202
        audit = await running.audit()
    assert [effect.audit_id for effect in audit.entries][5:] == ["eml_772905"]


async def test_audit_is_paged_and_filtered(served: ServedFactory) -> None:
    """From a place on, at most so many, and by any field; what it cannot be asked by is refused."""
    async with served() as tools:
        for number in range(4):
            await tools.ask(body=b'{"n": %d}' % number, X_Run_Id=f"run_{number % 2}")
        page = await tools.audit("since=1&limit=2")
        rest = await tools.audit(f"since={page.next}")
        odd = await tools.audit("run_id=run_1&tool=create_ticket&tenant=acme")
        nobody = await tools.audit("user_id=usr_2")
        for query in ("colour=red", "since=x", "limit="):
            async with tools.client.get(f"/_tools/audit?{query}") as response:
                assert response.status == 400
    assert [effect.audit_id for effect in (*page.entries, *rest.entries)] == ["tkt_772901", "tkt_772902", "tkt_772903"]
    assert (page.effects, rest.next) == (4, 4)
    assert [effect.run_id for effect in odd.entries] == ["run_1", "run_1"]
    assert nobody.entries == ()


async def test_reads_are_counted_and_leave_no_line(served: ServedFactory) -> None:
    """Whatever their method; and a read can fail, which changes nothing either."""
    async with served("override: true") as tools:
        answers = [await tools.ask("search_kb"), await tools.ask("get_order", b"", "GET")]
        failed = await tools.ask("search_kb", X_Simulate="not-applied-503")
        audit, counts = await tools.audit(), await tools.get("/_tools/counts")
    assert [status for status, _, _ in answers] == [200, 200]
    assert failed[0] == 503
    assert (audit.arrivals, audit.entries) == (0, ())
    assert counts["reads"] == {"search_kb": 2, "get_order": 1}


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1]", b"\xff"])
async def test_body_that_is_no_object_has_no_effect(body: bytes, served: ServedFactory) -> None:
    """It is a 400, and counted."""
    async with served() as tools:
        status, answer, _ = await tools.ask(body=body)
        audit, counts = await tools.audit(), await tools.get("/_tools/counts")
    assert (status, answer) == (400, {"error": "the body is no JSON object"})
    assert (audit.arrivals, audit.in_flight, audit.entries) == (1, 0, ())
    assert counts["without_effect"] == {"create_ticket": {"bad-request": 1}}


async def test_lookup_finds_what_was_done_under_an_operation_or_a_key_and_nothing_else(served: ServedFactory) -> None:
    """With the time of its creation, on the path of the tool or on its own; without a reference there is nothing."""
    async with served("tools: {create_ticket: {key: {}}}") as tools:
        await tools.ask(Holdfast_Operation="op_1", Idempotency_Key="k_1")
        await tools.ask(body=b"{}", Holdfast_Operation="op_2")
        await tools.ask("send_email", Holdfast_Operation="op_1")
        found = [
            (await tools.get(path))["items"]
            for path in (
                "/tickets?external_ref=op_1", "/tools/create_ticket?external_ref=op_1", "/tickets?external_ref=k_1",
                "/emails?external_ref=op_1", "/tickets?external_ref=op_3", "/tickets",
            )
        ]  # fmt: skip
    item = {"id": "tkt_772900", "status": "created", "user_id": "usr_1", "operation": "op_1", "created_at": 1000}
    assert found[0] == found[1] == [{**item, "external_ref": "op_1"}]
    assert found[2] == [{**item, "external_ref": "k_1"}]
    assert [one["id"] for one in found[3]] == ["eml_772902"]
    assert found[4] == found[5] == []


async def test_lookup_lags_behind_the_effect(served: ServedFactory) -> None:
    """As eventually consistent tools do: what took place is not there for a while, and then it is."""
    async with served("tools: {create_ticket: {lag: [2, 2]}}") as tools:
        await tools.ask(Holdfast_Operation="op_1")
        seen = []
        for _ in range(3):
            seen.append(len((await tools.get("/tickets?external_ref=op_1"))["items"]))
            tools.now += 1
        audit = await tools.audit()
    assert seen == [0, 0, 1]
    assert len(audit.entries) == 1


async def test_request_may_say_what_befalls_it_only_where_the_script_allows_it(served: ServedFactory) -> None:
    """Else the header is one among others; a name that is none of the faults' is refused, not passed over."""
    async with served() as tools:
        assert (await tools.ask(X_Simulate="throttled"))[0] == 201
        assert (await tools.ask(X_Simulate="nonsense"))[0] == 201
    async with served("override: true") as tools:
        assert (await tools.ask(X_Simulate="throttled"))[0] == 429
        status, answer, _ = await tools.ask(X_Simulate="nonsense")
        audit = await tools.audit()
    assert (status, audit.arrivals) == (400, 1)
    assert "applied-then-cut" in answer["error"]


def test_caller_that_hung_up_before_its_connection_was_to_be_cut_breaks_nothing() -> None:
    """There is nothing left to cut."""
    request = make_mocked_request("POST", "/tools/create_ticket")
    request.protocol.transport = None
    assert _response(request, Told(0)).status == 500
