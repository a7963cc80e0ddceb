"""What a process's executions share: settling against whatever stands, and what is noted of it."""

from __future__ import annotations

import pytest

from ledger.records import Completed, Free, Unknown
from policies.model import Retry
from proxy.works import SWAPS_MAX
from tests.proxy.scripted import Answers, Cuts, Hangs
from tests.proxy.virtual import in_virtual_time, until
from tests.proxy.world import arrival, told, world

TOOL = "create_ticket"


@pytest.mark.parametrize(
    ("number", "chance", "pause_s"),
    [(1, 1.0, 0.2), (1, 0.0, 0.1), (2, 1.0, 0.4), (3, 1.0, 0.8), (9, 1.0, 5.0), (9, 0.0, 2.5)],
)
@in_virtual_time
async def test_backoff_grows_to_its_limit_with_jitter_in_its_upper_half(
    number: int, chance: float, pause_s: float
) -> None:
    """So that retries neither hammer nor march in step."""
    async with world() as story:
        story.a.works._chance = lambda: chance
        assert story.a.works.backoff_s(Retry(), number) == pytest.approx(pause_s)


@pytest.mark.fault(48)
@in_virtual_time
async def test_wall_clock_that_jumps_changes_nothing() -> None:
    """It is written into histories for people; leases, time-outs and retention go by other clocks."""
    async with world() as story:
        wall = iter([1_700_000_000_000, 5, 9_999_999_999_999] * 100)
        for process in (story.a, story.b):
            process.works.now_ms = lambda: next(wall)
        story.tool.will(Answers(after_s=30))
        assert told(await story.a.answer())[:2] == (504, "outcome-unknown")
        assert told(await story.b.answer())[2] == "replayed"
        assert not story.b.events("lease.lapsed")


@in_virtual_time
async def test_settlement_that_is_overtaken_is_judged_anew() -> None:
    """Somebody wrote in between: what they wrote is what the reply is applied to."""
    async with world() as story:
        story.tool.will(Answers(after_s=18), Answers())
        story.a.ask()
        await until(5)
        story.a.stand_still()
        await until(17)
        story.a.view.pause_s = 4
        await until(30)
        record = await story.record()
        assert isinstance(record, Completed)
        assert [event.what for event in record.history][-1] == "replied"


@in_virtual_time
async def test_settlement_that_is_overtaken_for_ever_is_postponed() -> None:
    """A store in which nothing stays as it is keeps nobody in a loop."""
    async with world() as story:
        first = story.a.ask()
        await until(0.02)
        story.a.view.before = story.disturb
        assert told(await first)[2] == "executed"
        assert story.a.gate.steps.count("swap") == 1 + SWAPS_MAX
        assert story.a.events("settle.postponed")
        story.a.view.before = None
        await until(5)
        assert isinstance(await story.record(), Completed)


@in_virtual_time
async def test_settlements_are_logged_with_what_they_are_about() -> None:
    """Who reads the log finds the call, the attempt and what came of it."""
    async with world() as story:
        story.tool.will(Answers(201))
        await story.a.answer()
        (line,) = story.a.events("settled")
        assert (line["tool"], line["run_id"], line["tool_call_id"]) == (TOOL, "run_1", "call_1")
        assert (line["attempt"], line["detail"], line["level"]) == (1, "201 final", "debug")


@in_virtual_time
async def test_nothing_is_kept_of_what_is_over() -> None:
    """Meeting places, counts and events are gone when the last caller is; only the replay is kept near."""
    async with world() as story:
        story.tool.will(Answers(), Cuts(), Hangs(), Answers(429))
        for number in range(4):
            await story.a.answer(arrival(f"call_{number}"))
        await until(90)
        works = story.a.works
        assert (works.joints, works.wakeups.waiting, works.in_flight) == ({}, {}, {TOOL: 0})
        assert works.replays.get(arrival("call_0").ref.operation) is not None
        assert works.replays.get(arrival("call_1").ref.operation) is None
        assert isinstance(await story.record(arrival("call_1")), Unknown)


@in_virtual_time
async def test_overtaken_claim_is_refused_like_an_unreachable_store() -> None:
    """Sixteen surprises in a row mean that nothing the store says can be relied on."""
    async with world() as story:
        story.tool.will(Answers(429))
        await story.b.answer()
        story.a.view.before = story.disturb
        assert told(await story.a.answer())[1] == "store-unavailable"
        assert story.a.gate.steps.count("swap") == SWAPS_MAX
        assert story.tool.dialled == 1
        assert isinstance(await story.record(), Free)
