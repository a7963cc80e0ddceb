"""What a tool does, and what it says it did: with each fault, and by idempotency key."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from evaluation.tools.faults import ENDS, Fault
from tests.evaluation.conftest import RunningTools, ToolsFactory
from tests.evaluation.tools.conftest import IDS, ServedFactory

KEYED = "override: true\ntools: {create_ticket: {key: {window: 60}, limit: 0, past: [0, 0], retryAfter: 7}}"
TOLD = {
    Fault.OVER_LIMIT: 201, Fault.SLOW: 201, Fault.LATE_ANSWER: 201, Fault.UNAUTHORIZED: 401, Fault.THROTTLED: 429,
    Fault.NOT_APPLIED_503: 503, Fault.NOT_APPLIED_500: 500, Fault.IS_ERROR: 200, Fault.APPLIED_THEN_500: 500,
}  # fmt: skip
APPLIED = {Fault.OVER_LIMIT, Fault.SLOW, Fault.LATE_ANSWER, Fault.APPLIED_THEN_CUT, Fault.APPLIED_THEN_500}
QUICK = "override: true\ntools: {create_ticket: {slow: [0, 0], limit: 0, past: [0, 0], retryAfter: 7}}"


@pytest.mark.parametrize("fault", Fault)
async def test_fault_is_told_as_it_is_and_the_audit_says_what_happened(fault: Fault, served: ServedFactory) -> None:
    """Status or cut, effect or none, whatever the caller is told; what had no effect is counted with its reason."""
    async with served(QUICK) as tools:
        if fault in TOLD:
            status, answer, headers = await tools.ask(X_Simulate=fault.value)
            assert status == TOLD[fault]
            assert headers.get("Retry-After") == ("7" if fault is Fault.THROTTLED else None)
            assert answer.get("isError", False) is (fault is Fault.IS_ERROR)
        else:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await tools.ask(X_Simulate=fault.value)
        audit, counts = await tools.audit(), await tools.get("/_tools/counts")
    assert [(effect.answered, effect.faults) for effect in audit.entries] == (
        [(TOLD.get(fault, 0), (fault.value,))] if fault in APPLIED else []
    )
    assert counts["without_effect"] == ({} if fault in APPLIED else {"create_ticket:run_1/call_1": {fault.value: 1}})
    assert (audit.arrivals, audit.in_flight) == (1, 0)
    assert fault not in ENDS or ENDS[fault].applied is (fault in APPLIED)


async def test_effect_is_written_down_with_all_that_was_said(served: ServedFactory) -> None:
    """Who asked, in which run, under which operation and attempt, when it came and when it took place."""
    async with served() as tools:
        status, answer, _ = await tools.ask(
            X_Thread_Id="thd_1", X_Step_Id="stp_1", X_Request_Id="gw_1", Holdfast_Operation="op_1", Holdfast_Attempt="2"
        )
        (effect,) = (await tools.audit()).entries
    assert (status, answer) == (201, {"id": "tkt_772900", "status": "created", "user_id": "usr_1"})
    assert (effect.audit_id, effect.tool, effect.tenant, effect.user_id) == (
        "tkt_772900",
        "create_ticket",
        "acme",
        "usr_1",
    )
    assert (effect.run_id, effect.tool_call_id, effect.thread_id, effect.step_id) == (
        "run_1",
        "call_1",
        "thd_1",
        "stp_1",
    )
    assert (effect.request_id, effect.operation, effect.attempt) == ("gw_1", "op_1", 2)
    assert (effect.arrived_at, effect.ts, effect.answered, effect.faults) == (1000, 1000, 201, ())


async def test_same_call_twice_is_executed_twice(served: ServedFactory) -> None:
    """A tool that honours no key: identical calls have an effect each, with the same payload hash and other ids."""
    async with served() as tools:
        for _ in range(2):
            await tools.ask(Idempotency_Key="k_1")
        first, second = (await tools.audit()).entries
    assert first.audit_id != second.audit_id
    assert (first.payload_hash, first.key) == (second.payload_hash, "")


async def test_key_is_replayed_refused_to_another_request_and_forgotten(served: ServedFactory) -> None:
    """One effect for a key within its window, which the same answer tells of each time; after it the key is new."""
    async with served(KEYED) as tools:
        first = await tools.ask(Idempotency_Key="k_1")
        again = await tools.ask(Idempotency_Key="k_1")
        assert again[:2] == first[:2]
        assert "Idempotent-Replayed" in again[2]
        assert "Idempotent-Replayed" not in first[2]
        assert (await tools.ask(body=b"{}", Idempotency_Key="k_1"))[0] == 422
        counts = await tools.get("/_tools/counts?call=create_ticket:k_1")
        tools.now += 60
        later = await tools.ask(body=b"{}", Idempotency_Key="k_1")
        audit = await tools.audit()
    assert counts["without_effect"] == {"create_ticket:k_1": {"key-done": 1, "key-other-request": 1}}
    assert later[0] == 201
    assert [effect.key for effect in audit.entries] == ["k_1", "k_1"]


@pytest.mark.parametrize("fault", [Fault.APPLIED_THEN_500, Fault.LATE_ANSWER])
async def test_key_whose_answer_was_lost_is_done(fault: Fault, served: ServedFactory) -> None:
    """Asking again gets the answer, and makes no second effect; that answer may be lost as well."""
    async with served(KEYED) as tools:
        await tools.ask(Idempotency_Key="k_1", X_Simulate=fault.value)
        lost = await tools.ask(Idempotency_Key="k_1", X_Simulate="applied-then-500")
        away = await tools.ask(Idempotency_Key="k_1", X_Simulate="throttled")
        status, answer, _ = await tools.ask(Idempotency_Key="k_1")
        audit = await tools.audit()
    assert (lost[0], away[0], status, answer["id"]) == (500, 429, 201, "tkt_772900")
    assert len(audit.entries) == 1


@pytest.mark.parametrize("fault", [fault for fault, end in ENDS.items() if not end.applied and end.status])
async def test_key_under_which_nothing_was_done_is_free(fault: Fault, served: ServedFactory) -> None:
    """What was refused can be asked for again under its key."""
    async with served(KEYED) as tools:
        await tools.ask(Idempotency_Key="k_1", X_Simulate=fault.value)
        status, _, headers = await tools.ask(Idempotency_Key="k_1")
        audit = await tools.audit()
    assert (status, len(audit.entries)) == (201, 1)
    assert "Idempotent-Replayed" not in headers


async def test_key_is_refused_while_it_is_at_work_and_outlives_the_tools(tools: ToolsFactory) -> None:
    """409 while the first request with it is at work; a tool that was restarted still knows what it did under it."""
    script = "tools: {create_ticket: {latencies: [0.3, 0], key: {at: body:/ref}}}"

    async def ask(running: RunningTools) -> tuple[int, str]:
        url = f"{running.address.url}/tools/create_ticket"
        async with running.session.post(url, json={"ref": "k_1"}, headers=IDS) as response:
            return response.status, (await response.json()).get("id", "")

    async with tools(script=script) as running:
        first = asyncio.create_task(ask(running))
        await running.audit("arrivals=1")
        assert (await ask(running))[0] == 409
        done = await first
        assert await ask(running) == done
    async with tools(script=script) as running:
        assert await ask(running) == done
        audit = await running.audit()
    assert done == (201, "tkt_772900")
    assert [effect.key for effect in audit.entries] == ["k_1"]
