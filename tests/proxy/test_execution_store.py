"""One claim and its forward while the store is away, forgets answers, or holds what nobody can read."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.key import Ref
from ledger.records import Completed, InFlight
from ledger.store import Held, Present, Write, Written
from ledger.stores.memory import MemoryStore
from policies.model import Timeouts
from tests.proxy.gate import Wrong
from tests.proxy.rows import EXECUTED, IN_FLIGHT, LOST, REPLAYED, STORE_DOWN, TIMED_OUT, UNKNOWN
from tests.proxy.scripted import Answers, Cuts, Hangs
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import POLICY, arrival, clock_ms, field, told, world

FORWARDS = replace(POLICY, store_down="forward")


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


@pytest.mark.fault(35)
@in_virtual_time
async def test_unknown_that_the_store_has_not_heard_of_is_told_here() -> None:
    """This process knows that the reply was lost; it need not ask a store that is away."""
    async with world() as story:
        story.tool.will(Cuts())
        first = story.a.ask()
        await until(0.02)
        story.a.gate.outage = True
        assert told(await first) == LOST
        assert told(await story.a.answer()) == UNKNOWN
        assert story.tool.dialled == 1
        story.a.gate.outage = False
        await until(10)
        assert told(await story.b.answer()) == UNKNOWN


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


class Watched(MemoryStore):
    """A memory store that notes how many replicas each write asks for."""

    def __init__(self) -> None:
        super().__init__(clock_ms)
        self.asked: list[tuple[str, int]] = []

    async def swap(self, ref: Ref, expected: str | None, write: Write) -> Written | Present | Held | None:
        """See `ledger.store.Store.swap`."""
        self.asked.append((write.phase, write.replicas))
        return await super().swap(ref, expected, write)


@pytest.mark.fault(41)
@in_virtual_time
async def test_claim_and_result_both_ask_for_the_replicas_that_the_policy_names() -> None:
    """What must survive a failover is the claim, and the result that ends it."""
    store = Watched()
    async with world(store) as story:
        await story.a.answer(arrival(policy=replace(POLICY, replicas=2)))
    assert store.asked == [("in_flight", 2), ("completed", 2)]
