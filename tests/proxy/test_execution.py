"""One claim and its forward: what ends it, what is written down, and that nobody is left waiting for it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from ledger.records import Completed, Free, InFlight, Unknown
from policies.model import Limits, Retry, Timeouts
from proxy.execution import SHUTDOWN
from proxy.works import LISTENING_MAX
from tests.proxy.gate import Wrong
from tests.proxy.scripted import Answers, Breaks, Cuts, Hangs, Refuses
from tests.proxy.virtual import in_virtual_time, now, settled, until
from tests.proxy.world import POLICY, Process, arrival, field, told, world

EXECUTED, REPLAYED = (200, "", "executed"), (200, "", "replayed")
LOST, TIMED_OUT = (502, "outcome-unknown", "unknown"), (504, "outcome-unknown", "unknown")
UNKNOWN = (409, "outcome-unknown", "unknown")
NOT_SENT = (502, "not-sent", "not-executed")
IN_FLIGHT = (409, "in-flight", "refused")
STORE_DOWN = (503, "store-unavailable", "refused")
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


# -- the store -------------------------------------------------------------------------------------------------------


@pytest.mark.fault(34)
@in_virtual_time
async def test_store_away_before_the_claim_refuses() -> None:
    """Nothing is sent, the caller may come again, and once the store is back it is forwarded."""
    async with world() as story:
        story.a.gate.outage = True
        answer = await story.a.answer()
        assert told(answer) == STORE_DOWN
        assert field(answer, "Retry-After") is not None
        assert story.tool.dialled == 0
        story.a.gate.outage = False
        await until(2)
        assert told(await story.a.answer()) == EXECUTED


@pytest.mark.fault(34)
@in_virtual_time
async def test_store_away_before_the_claim_forwards_unprotected_if_the_policy_says_so() -> None:
    """Counted, marked, and written down when the store is back: from then on it is replayed."""
    asked = arrival(policy=FORWARDS)
    async with world() as story:
        story.a.gate.outage = True
        first, beside = story.a.ask(asked), story.a.ask(asked)
        assert told(await first) == (200, "", "unprotected")
        assert told(await beside) == (200, "", "joined")
        assert told(await story.a.answer(asked)) == REPLAYED
        story.a.gate.outage = False
        await until(2)
        assert told(await story.b.answer(asked)) == REPLAYED
        assert story.tool.dialled == 1
        assert story.a.count("holdfast_unprotected_total", tool="create_ticket", why="store-down") == 1


@in_virtual_time
async def test_call_that_is_known_to_be_unknown_is_not_forwarded_unprotected() -> None:
    """The store said that it lapsed before it went away: forwarding in spite of that would be running it again."""
    asked = arrival(policy=FORWARDS)
    async with world() as story:
        story.tool.will(Hangs())
        story.a.ask(asked)
        await until(1)
        story.a.die()
        story.b.stand_still()
        await until(17)
        # b claims (1), is handed the lapsed record, says so (2), looks again (3): then the store is away.
        story.b.gate.plan = {len(story.b.gate.steps) + 3: Wrong.FAILS_BEFORE}
        assert told(await story.b.answer(asked))[1] in {"store-unavailable", "outcome-unknown"}
        assert story.tool.dialled == 1


@pytest.mark.fault(36)
@pytest.mark.parametrize("wrong", [Wrong.FAILS_BEFORE, Wrong.FAILS_AFTER])
@in_virtual_time
async def test_claim_that_the_store_did_not_confirm_is_withdrawn(wrong: Wrong) -> None:
    """Whether it stood or not: nothing was sent, the key is free again soon, and not unknown after a lease."""
    async with world() as story:
        process = story.start("c", {1: wrong})
        assert told(await process.answer()) == STORE_DOWN
        assert story.tool.dialled == 0
        await until(1)
        assert told(await story.b.answer()) == EXECUTED


@pytest.mark.fault(35)
@in_virtual_time
async def test_store_away_after_the_reply_is_the_callers_business_no_more() -> None:
    """First caller and joiners get the answer, this process replays it, and the store gets it when it is back."""
    async with world() as story:
        first, beside = story.a.ask(), story.a.ask()
        await until(0.02)
        story.a.gate.outage = True
        assert [told(await first), told(await beside)] == [EXECUTED, (200, "", "joined")]
        assert told(await story.a.answer()) == REPLAYED
        assert isinstance(await story.record(), InFlight)
        await until(3)
        story.a.gate.outage = False
        await until(10)
        assert isinstance(await story.record(), Completed)
        assert told(await story.b.answer()) == REPLAYED


@pytest.mark.fault(35)
@in_virtual_time
async def test_store_away_for_longer_than_the_lease_makes_it_unknown_and_then_completed() -> None:
    """Others are told unknown, because they cannot know; the result, once it arrives, ends that."""
    async with world() as story:
        story.a.ask()
        await until(0.02)
        story.a.gate.outage = True
        await until(25)
        assert told(await story.b.answer()) == UNKNOWN
        story.a.gate.outage = False
        await until(35)
        assert told(await story.b.answer()) == REPLAYED
        assert story.tool.dialled == 1


@pytest.mark.fault(37)
@in_virtual_time
async def test_settlement_whose_answer_was_lost_is_not_made_twice() -> None:
    """It had stood all along: sent again, it changes nothing."""
    async with world() as story:
        process = story.start("c", {5: Wrong.FAILS_AFTER})
        assert told(await process.answer()) == EXECUTED
        assert process.gate.steps == ["swap", "dial", "send", "receive", "swap"]
        await until(3)
        record = await story.record()
        assert isinstance(record, Completed)
        assert [event.what for event in record.history] == ["claimed", "replied"]


@in_virtual_time
async def test_store_away_at_the_time_out_does_not_keep_the_caller() -> None:
    """The first caller and joiners hear of the time-out in time, and the late reply settles what it can."""
    async with world() as story:
        story.tool.will(Answers(after_s=15))
        first, beside = story.a.ask(), story.a.ask()
        await until(9)
        story.a.gate.outage = True
        assert [told(await first), told(await beside)] == [TIMED_OUT, TIMED_OUT]
        assert now() < 10.1
        await until(12)
        story.a.gate.outage = False
        await until(16)
        assert told(await story.b.answer()) == REPLAYED


@in_virtual_time
async def test_store_away_under_a_watched_forward_is_no_failure() -> None:
    """It is in flight elsewhere: who waits goes on waiting, and is told so when its time is over."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=10_000, hold_ms=5_000))
    async with world() as story:
        story.tool.will(Answers(after_s=9))
        first = story.a.ask(arrival(policy=policy))
        await until(1)
        waiting = story.b.ask(arrival(policy=policy))
        await until(2)
        patient = story.b.ask(arrival(policy=replace(policy, timeouts=Timeouts(upstream_ms=10_000))))
        story.b.gate.outage = True
        assert told(await waiting) == IN_FLIGHT
        assert 6 <= now() < 6.1
        await until(8)
        story.b.gate.outage = False
        assert told(await first) == EXECUTED
        assert told(await patient)[2] == "joined"


# -- records that cannot be read -------------------------------------------------------------------------------------


@pytest.mark.fault(47)
@in_virtual_time
async def test_record_that_cannot_be_read_is_never_forwarded_over() -> None:
    """Foreign bytes stand where the record would be: told as unknown, here and there, and logged."""
    async with world() as story:
        await story.spoil()
        answers = [await story.a.answer(), await story.b.answer(), await story.a.answer(arrival(policy=FORWARDS))]
        assert [told(answer) for answer in answers] == [UNKNOWN] * 3
        assert story.tool.dialled == 0
        assert story.a.events("record.corrupt")[0]["level"] == "error"


@pytest.mark.fault(47)
@in_virtual_time
async def test_record_that_was_spoiled_under_a_forward_takes_nothing_from_its_callers() -> None:
    """The reply is known here: the first caller, joiners and retries in this process get it."""
    async with world() as story:
        first, beside = story.a.ask(), story.a.ask()
        await until(0.02)
        await story.spoil()
        assert [told(await first), told(await beside)] == [EXECUTED, (200, "", "joined")]
        assert told(await story.a.answer()) == REPLAYED
        assert told(await story.b.answer()) == UNKNOWN
        assert story.tool.dialled == 1
        assert story.a.events("settle.corrupt")[0]["level"] == "error"


@pytest.mark.fault(47)
@in_virtual_time
async def test_record_that_was_spoiled_before_the_time_out_does_not_keep_the_caller() -> None:
    """Writing down that nothing came fails; telling it does not, and the late reply is still taken."""
    async with world() as story:
        story.tool.will(Answers(after_s=15))
        first = story.a.ask()
        await until(5)
        await story.spoil()
        assert told(await first) == TIMED_OUT
        assert told(await story.a.answer()) == REPLAYED
        assert now() < 16


@in_virtual_time
async def test_lost_call_is_not_forwarded_when_it_is_asked_for_again() -> None:
    """However often, wherever."""
    async with world() as story:
        story.tool.will(Cuts())
        await story.a.answer()
        for process in (story.a, story.b) * 5:
            assert told(await process.answer()) == UNKNOWN
        assert story.tool.executed == 1
