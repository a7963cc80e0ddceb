"""The situations of the three artifacts that Holdfast was built for, by name, at their own pace in virtual time."""

from __future__ import annotations

import asyncio
import json

import pytest

from coordinator.correlation import Unmatched
from tests.coordinator.house import house, wanted
from tests.coordinator.telling import (
    TICKET,
    asked_of_proxy,
    asks,
    executed,
    lines,
    posted,
    renewed,
    started,
    written,
)
from tests.proxy.virtual import in_virtual_time

GATEWAY = frozenset({"create_ticket"})
TIMEOUT_S = 10.0
"""What the first artifact's worker waited before it made the ticket a second time."""
ANSWER_S = 11.66
"""When the first ticket's answer came, from 14:12:09.017 to 14:12:20.104 and a little more."""


@pytest.mark.fault(63, 64)
@in_virtual_time
async def test_first_seed_submit_is_not_duplicated_when_a_slow_ticket_outlasts_a_timeout_and_a_restart() -> None:
    """A ticket takes longer than ten seconds, and the replica that waits for it is killed: the next one waits for the
    same ticket. One ticket, one submission, with the ticket's own number."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = ANSWER_S
        now.tools.output["create_ticket"] = '{"id":"tkt_772900"}'
        first = now.replica("first")
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        await asyncio.sleep(TIMEOUT_S)
        await first.kill()
        now.replica("second")
        record = await now.ended(run_id)
        assert record.status == "completed"
        assert executed(now) == ["create_ticket"]
        assert now.api.asked.count("submit") == 1
        assert now.api.accepted[0][1] == ('{"id":"tkt_772900"}',)


@pytest.mark.fault(69)
@in_virtual_time
async def test_first_seed_second_result_of_one_call_is_told_and_not_submitted() -> None:
    """A gateway that did what the artifact's did posts both tickets for call_A1: the first one is submitted; the other,
    half a second later, is a conflict, and nothing is submitted for it."""
    async with house() as now:
        replica = now.replica("first", GATEWAY)
        run_id = await started(now, [TICKET])
        call_id = (await asks(now, run_id)).calls[0].id
        await asyncio.sleep(TIMEOUT_S)
        assert await replica.inbox.accept(posted(now, run_id, call_id, '{"id":"tkt_772901"}')) == "accepted"
        await written(now, run_id, "submission-accepted")
        await asyncio.sleep(0.5)
        assert await replica.inbox.accept(posted(now, run_id, call_id, '{"id":"tkt_772900"}')) == "conflict"
        assert (await now.ended(run_id)).status == "completed"
        assert now.api.asked.count("submit") == 1
        assert now.api.accepted[0][1] == ('{"id":"tkt_772901"}',)


@pytest.mark.fault(63, 67)
@pytest.mark.parametrize("renewed_ids", [False, True], ids=["same-call", "new-id"])
@in_virtual_time
async def test_second_seed_dedup_miss_leads_to_no_second_create(renewed_ids: bool) -> None:
    """A worker restarts while the ticket is made, and the same step is asked for again, under the same id or a new one;
    the replica that saw it first is gone. What is known of the call was written before it was made, not as it is
    submitted: the second look misses nothing, and one ticket is created."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 0.842
        first = now.replica("first")
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        ids = renewed(now, run_id, same_step=True) if renewed_ids else [(await asks(now, run_id)).calls[0].id]
        await first.kill()
        second = now.replica("second")
        await asyncio.sleep(3.5)
        record = await now.ended(run_id)
        assert record.status == "completed"
        assert executed(now) == ["create_ticket"]
        assert {ask.tool_call_id for ask in now.tools.asked} == {record.steps[0].calls[0].tool_call_id}
        assert second.asked.count("submit") == 1
        assert [call.id for call in now.life.runs[run_id].steps[0].calls if call.output] == ids


@pytest.mark.fault(69)
@in_virtual_time
async def test_third_seed_result_without_a_tool_call_id_is_matched_by_nothing_but_being_the_only_one() -> None:
    """The artifact's fallback matched tool, arguments and time. Here two equal calls wait, and a result that names
    neither is refused, whatever the policy allows; when one is left, it is that one's if the policy allows it."""
    async with house() as now:
        replica = now.replica("first", GATEWAY)
        run_id = await started(now, [TICKET, TICKET])
        step = await asks(now, run_id)
        await asyncio.sleep(1)
        nameless = posted(now, run_id, "", '"second"', step.id)
        for complete in (False, True):
            replica.inbox._complete = complete
            told = await replica.inbox.accept(nameless)
            assert isinstance(told, Unmatched)
            assert told.why == "ambiguous"
        assert await replica.inbox.accept(posted(now, run_id, step.calls[0].id, '"first"')) == "accepted"
        await written(now, run_id, "result")
        replica.inbox._complete = False
        assert isinstance(await replica.inbox.accept(nameless), Unmatched)
        replica.inbox._complete = True
        assert await replica.inbox.accept(nameless) == "accepted"
        record = await now.ended(run_id)
        assert record.status == "completed"
        assert [call.output for call in step.calls] == ['"first"', '"second"']
        assert lines(record).count("submitting") == 1


@in_virtual_time
async def test_third_seed_every_submission_names_each_of_its_calls() -> None:
    """Steps of one to four calls, reads and writes: no output is ever handed in without the id of its call."""
    async with house() as now:
        now.replica()
        plan = [[wanted("search_kb", query=f"{step}-{call}") for call in range(step)] for step in range(1, 5)]
        run_id = await started(now, *plan)
        assert (await now.ended(run_id)).status == "completed"
        assert [len(outputs) for _, outputs in now.api.accepted] == [1, 2, 3, 4]
        calls = [call for step in now.life.runs[run_id].steps for call in step.calls]
        assert [json.loads(call.output or "null")["for"] for call in calls] == [
            json.loads(call.wanted.arguments) for call in calls
        ]
