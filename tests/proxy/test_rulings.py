"""Rulings: what an operator's word does to a call of unknown outcome, and to everybody who waits for it."""

from __future__ import annotations

import asyncio

import pytest

from ledger.result import Result
from proxy.admin_problems import Fault, Refused
from proxy.operations import Operations
from proxy.rulings import Response, Ruling, result_of, rule
from tests.proxy.scripted import Answers, Cuts, Prompted
from tests.proxy.test_operations import looking
from tests.proxy.virtual import in_virtual_time
from tests.proxy.virtual import now as clock
from tests.proxy.world import POLICY, Process, World, arrival, field, told, world

EXECUTED = Ruling("executed", "seen in the tool", "ada")
NOT_EXECUTED = Ruling("not_executed", "not in the tool", "ada")
TICKET = Result(201, b"", ((b"Content-Type", b"application/json"),), b'{"id": "tkt_1"}')
UNKNOWN_409 = (409, "outcome-unknown", "unknown")


async def ruled(now: World, process: Process, ruling: Ruling, result: Result | None = None) -> None:
    """Rule on the usual call, at one process."""
    operations: Operations = looking(now)
    found = await operations.find(arrival().ref.operation)
    assert found is not None
    ref, standing = found
    await rule(process.works, ref, standing, ruling, result, POLICY.result)


async def lost(now: World) -> None:
    """Make the usual call unknown."""
    now.tool.will(Cuts(after_s=0))
    assert told(await now.a.answer())[0] == 502
    assert told(await now.a.answer()) == UNKNOWN_409


@in_virtual_time
async def test_executed_with_a_response_is_replayed_by_every_process() -> None:
    """As if the tool had said it."""
    async with world() as now:
        await lost(now)
        await ruled(now, now.b, EXECUTED, TICKET)
        for process in (now.a, now.b):
            answer = await process.answer()
            assert told(answer) == (201, "", "replayed")
            assert answer.body == TICKET.body
            assert field(answer, "Holdfast-Late") == "true"
        assert now.tool.executed == 1
        assert now.b.count("holdfast_rulings_total", tool="create_ticket", outcome="executed") == 1


@in_virtual_time
async def test_executed_without_a_response_is_a_tombstone() -> None:
    """It ran, and nobody can say with what result."""
    async with world() as now:
        await lost(now)
        await ruled(now, now.a, EXECUTED)
        assert told(await now.b.answer()) == (409, "result-unavailable", "refused")
        assert now.tool.executed == 1


@in_virtual_time
async def test_not_executed_frees_the_key_for_exactly_one_forward() -> None:
    """Whoever asks next."""
    async with world() as now:
        await lost(now)
        await ruled(now, now.b, NOT_EXECUTED)
        answers = await asyncio.gather(now.a.answer(), now.a.answer(), now.b.answer())
        assert sorted(told(answer)[2] or "" for answer in answers) == ["executed", "joined", "joined"]
        assert now.tool.dialled == 2


@in_virtual_time
async def test_of_two_rulings_at_once_one_wins_and_the_other_is_told_what_stands() -> None:
    """Whatever the processes."""
    async with world() as now:
        await lost(now)
        first, second = await asyncio.gather(
            ruled(now, now.a, EXECUTED, TICKET), ruled(now, now.b, NOT_EXECUTED), return_exceptions=True
        )
        (refused,) = [one for one in (first, second) if one is not None]
        assert isinstance(refused, Refused)
        assert refused.fault is Fault.CONFLICT
        assert "says ada" in refused.detail


@pytest.mark.parametrize("step", [Answers(), Prompted()])
def test_nothing_but_an_unknown_outcome_can_be_ruled_on(step: Answers | Prompted) -> None:
    """What has completed, and what is in flight, is the tool's to tell."""

    @in_virtual_time
    async def story() -> None:
        async with world() as now:
            now.tool.will(step)
            asked = now.a.ask()
            await asyncio.sleep(1)
            with pytest.raises(Refused, match="not unknown"):
                await ruled(now, now.b, EXECUTED)
            if isinstance(step, Prompted):
                now.tool.prompt(arrival().ref.operation, Answers())
            assert told(await asked)[0] == 200

    story()


@in_virtual_time
async def test_ruling_that_a_probe_or_a_sweep_overtakes_is_judged_anew() -> None:
    """What was written in between left it unknown: the ruling stands."""
    async with world() as now:
        await lost(now)
        operations = looking(now)
        found = await operations.find(arrival().ref.operation)
        assert found is not None
        await now.disturb()
        await rule(now.a.works, found[0], found[1], NOT_EXECUTED, None, POLICY.result)
        assert told(await now.a.answer()) == (200, "", "executed")


def test_response_is_kept_without_what_belongs_to_one_caller() -> None:
    """As the tool's own answers are."""
    given = Response(201, {"Set-Cookie": "a=b", "Content-Length": "9", "X-Ticket": "t"}, body={"id": "tkt_1"})
    result = result_of(given, 1_000)
    assert result.headers == ((b"X-Ticket", b"t"), (b"Content-Type", b"application/json"))
    assert result.body == b'{"id":"tkt_1"}'
    assert result_of(Response(body="text"), 10).headers == ()
    assert result_of(Response(body_base64="/wA="), 10).body == b"\xff\x00"
    assert result_of(Response(204), 10).body == b""


@in_virtual_time
async def test_callers_held_where_the_tool_is_listened_to_get_a_ruling_made_elsewhere_at_once() -> None:
    """On the replica that listens and on the one that follows it, long before the next poll."""
    async with world() as now:
        now.tool.will(Prompted())
        assert told(await now.a.answer())[:2] == (504, "outcome-unknown")
        held = [now.a.ask(), now.a.ask(), now.b.ask()]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in held)
        before = clock()
        await ruled(now, now.b, EXECUTED, TICKET)
        answers = await asyncio.gather(*held)
        assert clock() - before < 0.1
        assert [told(answer)[0] for answer in answers] == [201] * 3
        assert {answer.body for answer in answers} == {TICKET.body}


@in_virtual_time
async def test_late_truth_after_a_ruling_is_shouted_about_and_not_applied() -> None:
    """In the history, a metric and an error line; callers go on getting what was ruled."""
    async with world() as now:
        now.tool.will(Prompted())
        assert told(await now.a.answer())[:2] == (504, "outcome-unknown")
        await ruled(now, now.b, EXECUTED, TICKET)
        await asyncio.sleep(1)
        now.tool.prompt(arrival().ref.operation, Answers(body=b'{"id": "tkt_2"}'))
        await asyncio.sleep(1)
        record = await now.record()
        assert record is not None
        assert [event.what for event in record.history][-2:] == ["ruled", "conflict"]
        assert now.a.count("holdfast_late_conflicts_total", tool="create_ticket") == 1
        assert [line["level"] for line in now.a.events("settled.conflict")] == ["error"]
        for process in (now.a, now.b):
            assert (await process.answer()).body == TICKET.body


@in_virtual_time
async def test_late_truth_that_changes_nothing_keeps_the_result_for_no_longer() -> None:
    """Its retention goes on from the ruling; what is noted beside it does not begin it anew."""
    async with world() as now:
        now.tool.will(Prompted())
        assert told(await now.a.answer())[:2] == (504, "outcome-unknown")
        await ruled(now, now.b, EXECUTED, TICKET)
        await asyncio.sleep(50)
        now.tool.prompt(arrival().ref.operation, Answers(body=b'{"id": "tkt_2"}'))
        await asyncio.sleep(540)
        assert now.a.count("holdfast_late_conflicts_total", tool="create_ticket") == 1
        for left in (True, False):
            standing = await now.store.read(arrival().ref)
            assert standing is not None
            assert (standing.result is not None) is left
            await asyncio.sleep(20)


@in_virtual_time
async def test_ruling_that_was_wrong_is_found_out_by_the_late_reply_and_the_second_forward_stands() -> None:
    """The operator was wrong: that is a conflict, said loudly, and the second forward's result stands."""
    async with world() as now:
        now.tool.will(Prompted(), Answers(body=b'{"id": "second"}'))
        assert told(await now.a.answer())[:2] == (504, "outcome-unknown")
        held = now.a.ask()
        await asyncio.sleep(0.1)
        await ruled(now, now.b, NOT_EXECUTED)
        assert (await held).body == b'{"id": "second"}'
        now.tool.prompt(arrival().ref.operation, Answers(body=b'{"id": "first"}'))
        await asyncio.sleep(1)
        assert now.a.count("holdfast_late_conflicts_total", tool="create_ticket") == 1
        assert (await now.b.answer()).body == b'{"id": "second"}'
