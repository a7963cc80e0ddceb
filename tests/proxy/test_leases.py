"""Leases: renewed while a forward is under way, whatever else there is to do; lapsed ones found and said to be
unknown."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from ledger.records import Completed, InFlight, Unknown
from policies.model import Limits, Timeouts
from proxy.leases import BATCH
from tests.proxy.rows import UNKNOWN
from tests.proxy.scripted import Answers, Hangs
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import POLICY, World, arrival, told, world

TOOL = "create_ticket"
SLOW = replace(POLICY, timeouts=Timeouts(upstream_ms=90_000), limits=Limits(in_flight=1_000))


async def abandon(story: World, number: int) -> None:
    """Leave `number` calls in flight whose process has died."""
    dying = story.start("dying")
    usual, story.tool.usual = story.tool.usual, Hangs()
    for index in range(number):
        dying.ask(arrival(f"abandoned_{index}", policy=SLOW))
    await asyncio.sleep(0.1)
    dying.die()
    story.tool.usual = usual


@in_virtual_time
async def test_slow_store_does_not_let_the_leases_of_many_calls_lapse() -> None:
    """Renewals are asked for together: sixty of 0.4 s each would take longer than a lease one after the other."""
    async with world() as story:
        story.tool.usual = Answers(after_s=80)
        story.a.view.pause_s = 0.4
        asked = [story.a.ask(arrival(f"call_{number}", policy=SLOW)) for number in range(60)]
        await asyncio.gather(*asked)
        assert now() > 80
        assert not story.b.events("lease.lapsed")
        assert not story.a.events("lease.lapsed")


@in_virtual_time
async def test_long_sweep_does_not_hold_up_renewals() -> None:
    """A process that takes up what a dead one left goes on keeping its own calls alive meanwhile."""
    async with world() as story:
        story.b.stand_still()
        story.a.view.pause_s = 0.05
        await abandon(story, 600)
        story.tool.will(Answers(after_s=85))
        first = story.a.ask(arrival(policy=SLOW))
        assert told(await first) == (200, "", "executed")
        record = await story.record()
        assert isinstance(record, Completed)
        assert [event.what for event in record.history] == ["claimed", "replied"]
        assert story.a.count("holdfast_lapsed_leases_total", tool=TOOL) == 600


@in_virtual_time
async def test_overlapping_sweeps_do_no_harm() -> None:
    """Two processes find the same lapsed calls: each is said to be unknown once."""
    async with world() as story:
        await abandon(story, 50)
        await until(30)
        lapsed = [process.count("holdfast_lapsed_leases_total", tool=TOOL) for process in (story.a, story.b)]
        assert sum(lapsed) == 50
        record = await story.record(arrival("abandoned_0"))
        assert isinstance(record, Unknown)
        assert [event.what for event in record.history] == ["claimed", "lapsed"]


@in_virtual_time
async def test_sweep_takes_up_more_than_one_batch() -> None:
    """Nothing stays in flight for longer than its lease and one sweep, however much there is (I6)."""
    async with world() as story:
        await abandon(story, BATCH * 3 + 1)
        await until(15 + 5 + 2)
        assert await story.store.due(1) == []


@pytest.mark.fault(47)
@in_virtual_time
async def test_records_that_cannot_be_read_do_not_hide_the_others_from_sweeps() -> None:
    """They lapsed first and stay in the way for ever: whoever lapses after them is found all the same."""
    async with world() as story:
        for index in range(BATCH + 20):
            await story.spoil(arrival(f"spoiled_{index}"))
        await abandon(story, 2)
        await until(30)
        assert isinstance(await story.record(arrival("abandoned_1")), Unknown)
        assert story.b.events("record.corrupt")


@pytest.mark.fault(47)
@in_virtual_time
async def test_record_that_is_spoiled_under_a_lease_does_not_end_the_others() -> None:
    """One unreadable record, and the process goes on renewing and sweeping."""
    async with world() as story:
        story.tool.usual = Answers(after_s=60)
        asked = [story.a.ask(arrival(call, policy=SLOW)) for call in ("call_1", "call_2")]
        await until(1)
        await story.spoil(arrival("call_1"))
        await asyncio.gather(*asked)
        assert not story.b.events("lease.lapsed")
        assert told(await story.b.answer(arrival("call_2")))[2] == "replayed"


@pytest.mark.fault(57)
@in_virtual_time
async def test_owner_that_goes_on_says_so_and_callers_are_held_again() -> None:
    """Stopped for longer than its lease, then continued: while its forward can still end the unknown, arrivals wait."""
    async with world() as story:
        story.tool.will(Answers(after_s=60))
        first = story.a.ask(arrival(policy=SLOW))
        await until(1)
        story.a.stand_still()
        await until(25)
        assert told(await story.b.answer(arrival(policy=SLOW))) == UNKNOWN
        story.a.go_on()
        await until(40)
        record = await story.record()
        assert isinstance(record, Unknown)
        assert record.listening
        held = story.b.ask(arrival(policy=SLOW))
        assert told(await held) == (200, "", "replayed")
        assert now() > 60
        assert told(await first) == (200, "", "executed")
        record = await story.record()
        assert isinstance(record, Completed)
        assert [event.what for event in record.history] == ["claimed", "lapsed", "resumed", "replied"]


@pytest.mark.fault(57)
@in_virtual_time
async def test_owners_that_went_on_and_died_are_swept_up() -> None:
    """More of them than a batch: every lease that is given up is found again, and the sweep comes to its end."""
    calls = [arrival(f"call_{number}", policy=SLOW) for number in range(BATCH + 5)]
    async with world() as story:
        story.tool.usual = Hangs()
        for call in calls:
            story.a.ask(call)
        await until(1)
        story.a.stand_still()
        await until(25)
        story.a.go_on()
        await until(35)
        story.a.die()
        await until(65)
        assert await story.store.due(1) == []
        assert isinstance(await story.record(calls[-1]), Unknown)
        assert told(await story.b.answer(calls[0])) == UNKNOWN
        assert story.tool.dialled == len(calls)


@pytest.mark.fault(41)
@in_virtual_time
async def test_lease_goes_on_after_somebody_noted_a_conflict_and_the_note_stays() -> None:
    """A forgotten claim's reply is noted in the newer claim's record: that one's owner renews and settles it as
    before."""
    async with world() as story:
        story.tool.will(Answers(after_s=5), Answers(after_s=60))
        first = story.a.ask(arrival(policy=SLOW))
        await until(1)
        await story.forget()
        second = story.b.ask(arrival(policy=SLOW))
        await first
        assert isinstance(await story.record(), InFlight)
        assert told(await second) == (200, "", "executed")
        record = await story.record()
        assert isinstance(record, Completed)
        assert [event.what for event in record.history] == ["claimed", "conflict", "replied"]
        assert not story.a.events("lease.lapsed")


@in_virtual_time
async def test_store_that_was_away_is_swept_again() -> None:
    """An outage ends nothing here: the next round meets the store again."""
    async with world() as story:
        await abandon(story, 1)
        story.b.stand_still()
        story.a.gate.outage = True
        await until(60)
        assert story.a.events("leases.postponed")
        story.a.gate.outage = False
        await until(66)
        assert isinstance(await story.record(arrival("abandoned_0")), Unknown)


@in_virtual_time
async def test_unknown_outcomes_of_the_whole_store_are_counted() -> None:
    """Every process tells how many there are, of which tool, and since when the oldest is."""
    async with world() as story:
        await abandon(story, 3)
        await until(40)
        await story.b.leases.count_unknown()
        assert story.b.count("holdfast_unknown_operations", tool=TOOL) == 3
        age_s = story.b.count("holdfast_unknown_oldest_age_seconds")
        assert 19 <= age_s <= 25.1
        await story.forget()
        await story.b.leases.count_unknown()
        assert story.b.count("holdfast_unknown_operations", tool=TOOL) == 0
        assert story.b.count("holdfast_unknown_oldest_age_seconds") == 0
