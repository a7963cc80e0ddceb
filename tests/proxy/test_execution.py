"""One claim and its forward: what ends it, what is written down, and that nobody is left waiting for it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from ledger.records import Completed, Free, Unknown
from policies.model import Limits, Retry, Timeouts
from proxy.execution import SHUTDOWN
from proxy.works import LISTENING_MAX
from tests.proxy.rows import EXECUTED, IN_FLIGHT, LOST, NOT_SENT, REPLAYED, TIMED_OUT, UNKNOWN
from tests.proxy.scripted import Answers, Breaks, Hangs, Refuses
from tests.proxy.virtual import in_virtual_time, now, settled, until
from tests.proxy.world import POLICY, Process, arrival, field, told, world

FORWARDS = replace(POLICY, store_down="forward")


def stop(process: Process) -> None:
    """Let the process's grace be over."""
    process.works.stopping = True
    for execution in list(process.works.joints.values()):
        execution.give_up("the proxy stopped before the tool answered", SHUTDOWN)


# -- the caller ------------------------------------------------------------------------------------------------------


@pytest.mark.fault(4, 5)
@in_virtual_time
async def test_caller_that_hangs_up_leaves_its_forward_behind() -> None:
    """The reply is awaited, stored as late, and given to whoever asks again, on any replica."""
    async with world() as story:
        gone = asyncio.Event()
        story.a.ask(arrival(gone=gone))
        await until(0.02)
        gone.set()
        await until(1)
        answers = [await story.a.answer(), await story.b.answer()]
        assert [told(answer) for answer in answers] == [REPLAYED, REPLAYED]
        assert {field(answer, "Holdfast-Late") for answer in answers} == {"true"}
        assert story.tool.dialled == 1
        assert story.a.count("holdfast_caller_gone_total", tool="create_ticket") == 1
        assert story.a.count("holdfast_late_results_total", tool="create_ticket") == 1


@in_virtual_time
async def test_stream_whose_caller_has_gone_is_closed() -> None:
    """Nobody will read it: the tool is hung up on, and the record is a tombstone all the same."""
    async with world() as story:
        story.tool.will(Answers(pieces=(b"more",)))
        gone = asyncio.Event()
        story.a.ask(arrival(gone=gone))
        await until(0.02)
        gone.set()
        await until(1)
        assert story.tool.streams[0].closed
        assert isinstance(await story.record(), Completed)


@in_virtual_time
async def test_stream_whose_caller_leaves_while_the_record_settles_is_closed() -> None:
    """Patience can end between the reply's head and the store's word; the connection must not be left to nobody."""
    async with world() as story:
        story.tool.will(Answers(after_s=0.5, pieces=(b"more",)))
        asked = story.a.ask(arrival(patience_s=0.6))
        await until(0.4)
        story.a.view.pause_s = 0.5
        assert told(await asked)[1] == "in-flight"
        await until(2)
        assert story.tool.streams[0].closed


@in_virtual_time
async def test_watch_that_nobody_waits_at_ends() -> None:
    """Its last caller has lost patience: the store is not asked any more, however long the forward elsewhere takes."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=60_000))
    async with world() as story:
        story.tool.will(Answers(after_s=50))
        story.a.ask(arrival(policy=policy))
        await until(1)
        await story.b.answer(arrival(policy=policy, patience_s=1))
        await until(5)
        assert story.b.works.joints == {}
        watched = story.b.gate.steps.count("watch")
        await until(20)
        assert story.b.gate.steps.count("watch") == watched


# -- the tool's time -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_long_forward_keeps_its_lease() -> None:
    """A slow tool never looks dead: the lease of 15 s is renewed for as long as the forward is under way."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=90_000))
    async with world() as story:
        story.tool.will(Answers(after_s=80))
        first = story.a.ask(arrival(policy=policy))
        await until(70)
        joiner = story.b.ask(arrival(policy=policy))
        assert told(await first) == EXECUTED
        assert told(await joiner)[2] == "joined"
        assert not story.b.events("lease.lapsed")


@in_virtual_time
async def test_listened_to_call_keeps_its_lease() -> None:
    """As long as a process listens for a late reply, its record says so."""
    async with world() as story:
        story.tool.will(Answers(after_s=65))
        await story.a.answer()
        await until(60)
        record = await story.record()
        assert isinstance(record, Unknown)
        assert record.listening
        assert told(await story.b.answer()) == REPLAYED


@in_virtual_time
async def test_reply_in_the_moment_of_the_time_out_is_taken() -> None:
    """Whichever is looked at first, the caller is answered, the result is kept, and no timer is left behind."""
    async with world() as story:
        story.tool.will(Answers(after_s=10))
        answer = await story.a.answer()
        await until(11)
        assert told(answer) in {EXECUTED, TIMED_OUT}
        assert isinstance(await story.record(), Completed)
        assert not [timer for timer in _timers() if "give_up" in timer]


def _timers() -> list[str]:
    loop = asyncio.get_running_loop()
    return [repr(timer) for timer in getattr(loop, "_scheduled") if not timer.cancelled()]  # noqa: B009


@in_virtual_time
async def test_too_many_late_connections_are_not_listened_to() -> None:
    """Beyond the cap a connection is dropped at its time-out: its caller is told 504 all the same, later ones 409."""
    policy = replace(POLICY, limits=Limits(in_flight=LISTENING_MAX + 10))
    async with world() as story:
        story.tool.usual = Hangs()
        calls = [arrival(f"call_{number}", policy=policy) for number in range(LISTENING_MAX + 3)]
        asked = [story.a.ask(call) for call in calls]
        assert [told(await task) for task in asked] == [TIMED_OUT] * len(calls)
        await settled()
        assert len(story.a.works.joints) == LISTENING_MAX
        records = [await story.record(call) for call in calls]
        assert sum(isinstance(record, Unknown) and record.listening for record in records) == LISTENING_MAX
        assert {record.why for record in records if isinstance(record, Unknown)} == {"timeout"}
        dropped = next(c for c, r in zip(calls, records, strict=True) if isinstance(r, Unknown) and not r.listening)
        assert told(await story.b.answer(dropped)) == UNKNOWN
        assert now() < 11


@in_virtual_time
async def test_policy_without_late_time_drops_the_connection_at_the_time_out() -> None:
    """`late: 0s` means 504 and unknown at once."""
    policy = replace(POLICY, timeouts=replace(POLICY.timeouts, late_ms=0))
    async with world() as story:
        story.tool.will(Hangs())
        assert told(await story.a.answer(arrival(policy=policy))) == TIMED_OUT
        await until(10.1)
        assert story.a.works.joints == {}
        assert told(await story.b.answer(arrival(policy=policy))) == UNKNOWN


# -- what goes to the tool -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_tool_is_told_operation_and_attempt() -> None:
    """The fence grows with each claim, so that a tool that checks it can tell an old attempt from the newest."""
    async with world() as story:
        story.tool.will(Answers(429), Answers(429), Answers())
        answers = [await process.answer() for process in (story.a, story.b, story.a)]
        sent = [dict(request.headers) for request in story.tool.requests]
        assert [headers[b"Holdfast-Attempt"] for headers in sent] == [b"1", b"2", b"3"]
        assert {headers[b"Holdfast-Operation"].decode() for headers in sent} == {
            field(answer, "Holdfast-Operation") for answer in answers
        }


@in_virtual_time
async def test_time_that_the_tool_took_is_told_apart_from_ours() -> None:
    """Every try counts, and no pause in between; the log and the metrics say what Holdfast added."""
    async with world() as story:
        story.tool.will(Refuses(after_s=1), Answers(after_s=2))
        answer = await story.a.answer(arrival(policy=replace(POLICY, retry=Retry(attempts=2, backoff_base_ms=5_000))))
        assert answer.upstream_s == pytest.approx(3, abs=0.01)
        assert (answer.upstream_status, answer.attempt) == (200, 1)
        assert now() > 6


@in_virtual_time
async def test_tool_is_told_nothing_if_the_policy_says_so() -> None:
    """`announce: false` leaves no trace of Holdfast in the request."""
    async with world() as story:
        asked = arrival(policy=replace(POLICY, announce=False))
        await story.a.answer(asked)
        assert story.tool.requests[0].headers == asked.request.headers


@in_virtual_time
async def test_request_that_cannot_be_put_on_a_wire_was_not_sent() -> None:
    """The forward refused it before it dialled: nothing ran, and the key is free."""
    async with world() as story:
        story.tool.will(Breaks(sent=False))
        assert told(await story.a.answer()) == NOT_SENT
        assert isinstance(await story.record(), Free)


@in_virtual_time
async def test_fault_of_the_forward_after_the_first_byte_is_unknown() -> None:
    """What went wrong here says nothing about what the tool did (I5)."""
    async with world() as story:
        story.tool.will(Breaks(sent=True))
        assert told(await story.a.answer()) == LOST
        assert isinstance(await story.record(), Unknown)
        assert told(await story.b.answer()) == UNKNOWN


# -- shutdown --------------------------------------------------------------------------------------------------------


@pytest.mark.fault(56)
@in_virtual_time
async def test_forward_that_is_cut_off_by_shutdown_is_unknown_in_the_store() -> None:
    """What is left at the end of the grace is written down before the process goes; callers here and there are told."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first, beside, afar = story.a.ask(), story.a.ask(), story.b.ask()
        await until(1)
        stop(story.a)
        assert [told(await task) for task in (first, beside, afar)] == [LOST] * 3
        assert now() < 1.1
        record = await story.record()
        assert isinstance(record, Unknown)
        assert (record.why, record.listening) == ("shutdown", False)


@pytest.mark.fault(56)
@in_virtual_time
async def test_reply_that_is_being_written_down_at_shutdown_is_not_lost() -> None:
    """The tool has answered: giving up on the forward comes too late, and the caller and the store get the reply."""
    async with world() as story:
        first = story.a.ask()
        await until(0.03)
        story.a.view.pause_s = 0.8
        await until(0.3)
        stop(story.a)
        assert told(await first) == EXECUTED
        assert isinstance(await story.record(), Completed)
        assert told(await story.b.answer()) == REPLAYED


@pytest.mark.fault(56)
@in_virtual_time
async def test_claim_on_its_way_at_shutdown_is_not_forwarded_any_more() -> None:
    """It may win the key by then; the key is given back and nothing is sent."""
    async with world() as story:
        story.a.view.pause_s = 0.8
        first = story.a.ask()
        await until(0.1)
        stop(story.a)
        assert told(await first) == NOT_SENT
        assert story.tool.dialled == 0
        assert isinstance(await story.record(), Free)
        assert told(await story.b.answer()) == EXECUTED


@pytest.mark.fault(56)
@in_virtual_time
async def test_who_waits_for_another_process_at_shutdown_is_sent_there() -> None:
    """Its forward goes on elsewhere: in flight, ask again."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.b.ask()
        await until(1)
        waiting = story.a.ask()
        await until(2)
        stop(story.a)
        assert told(await waiting) == IN_FLIGHT
        assert now() < 2.1
        assert told(await first) == EXECUTED


@pytest.mark.fault(56)
@in_virtual_time
async def test_pause_before_a_retry_is_cut_short_by_shutdown() -> None:
    """Nothing was sent yet, and nothing will be."""
    policy = replace(POLICY, retry=Retry(attempts=3, backoff_base_ms=5_000))
    async with world() as story:
        story.tool.will(Refuses(), Refuses())
        first = story.a.ask(arrival(policy=policy))
        await until(1)
        stop(story.a)
        assert told(await first) == NOT_SENT
        assert now() < 1.1
        assert story.tool.dialled == 1
        assert isinstance(await story.record(), Free)


@in_virtual_time
async def test_stopping_process_takes_no_new_calls_and_still_replays() -> None:
    """What it knows it tells; what it does not, another process may do."""
    async with world() as story:
        await story.a.answer()
        story.a.works.stopping = True
        assert told(await story.a.answer()) == REPLAYED
        answer = await story.a.answer(arrival("call_2"))
        assert told(answer) == (503, "overloaded", "refused")
        assert answer.close
        assert story.tool.dialled == 1
