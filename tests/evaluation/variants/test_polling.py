"""Variant A in virtual time: what it does when all is well, and by which mechanisms of its design it acts twice."""

from __future__ import annotations

import pytest

from evaluation.assistants.script import Rates
from evaluation.scripts import Range
from evaluation.tools.faults import Fault
from evaluation.tools.script import Tool
from tests.evaluation.variants.world import World, at_work, wall
from tests.proxy.virtual import in_virtual_time, until

SLOW = Tool(latency=Range(10.5, 10.5))
"""Slower than a worker waits."""


@in_virtual_time
async def test_run_that_meets_no_fault_has_each_effect_once() -> None:
    """The calls of a step go at once, the steps one after the other, and each output is handed in for its call."""
    world = World()
    async with at_work(world.polling()):
        _, run_id = await world.run(["create_ticket", "send_email"], ["refund_payment"])
        assert await world.ended(run_id) == "completed"
    assert [effect.tool for effect in world.effects()] == ["create_ticket", "send_email", "refund_payment"]
    assert [len(outputs) for outputs in world.taken(run_id)] == [2, 1]


@in_virtual_time
async def test_waiting_run_is_noticed_within_a_second() -> None:
    """An instance that has nothing to do looks once a second, and every 250 ms from then on."""
    world = World(think_s=0.0)
    async with at_work(world.polling()):
        await until(10)
        asked_at = wall()
        _, run_id = await world.run(["create_ticket"], ["send_email"])
        await world.ended(run_id)
    first, second = (effect.arrived_at for effect in world.effects())
    assert 0.25 < first - asked_at <= 1.0
    assert second - first <= 0.1 + 0.25


@in_virtual_time
async def test_run_that_is_listed_again_while_its_calls_run_is_attended_to_once() -> None:
    """It waits for as long as they take, and is in each listing meanwhile."""
    world = World(tool=Tool(latency=Range(5, 5)))
    async with at_work(world.polling()):
        _, run_id = await world.run(["create_ticket"])
        assert await world.ended(run_id) == "completed"
        await until(30)
    assert len(world.effects()) == len(world.api.submissions) == 1


@in_virtual_time
async def test_call_that_takes_longer_than_a_worker_waits_is_executed_again() -> None:
    """A time-out is taken for a failure: the first call still runs when the second is sent. That is the incident."""
    world = World(tool=SLOW)
    async with at_work(world.polling()):
        _, run_id = await world.run(["create_ticket"])
        assert await world.ended(run_id) == "completed"
        await until(60)
    effects = world.effects()
    assert len(effects) == 3
    assert len({effect.tool_call_id for effect in effects}) == 1
    assert len({effect.request_id for effect in effects}) == 3
    (outputs,) = world.taken(run_id)
    assert [output["error"]["outcome"] for output in outputs.values()] == ["timed-out"]


@in_virtual_time
async def test_effect_whose_answer_was_cut_off_happens_again() -> None:
    """A connection that breaks is a reason to try again, and the tool had acted."""
    world = World(tool=Tool(rates={Fault.APPLIED_THEN_CUT: 1.0}))
    async with at_work(world.polling()):
        _, run_id = await world.run(["create_ticket"])
        await world.ended(run_id)
    assert len(world.effects()) == 3


@in_virtual_time
async def test_instance_that_restarts_executes_again_what_it_had_not_handed_in() -> None:
    """Its memory was all it had. The new one lists what waits, and begins anew."""
    world = World(tool=Tool(latency=Range(2, 2)))
    async with at_work(world.polling()):
        _, run_id = await world.run(["create_ticket"])
        await until(1.5)
    async with at_work(world.polling()):
        assert await world.ended(run_id) == "completed"
    assert len(world.effects()) == 2


@in_virtual_time
@pytest.mark.parametrize("same_step", [True, False])
async def test_step_asked_for_again_under_new_ids_is_answered_by_a_guess(same_step: bool) -> None:
    """The outputs are refused, since other ids are wanted; the same tool and arguments were executed shortly before."""
    rates = Rates(regenerate=1.0) if same_step else Rates(regenerate_step=1.0)
    world = World(rates=rates, tool=Tool(latency=Range(2, 2)), think_s=1.5)
    polling = world.polling()
    async with at_work(polling):
        _, run_id = await world.run(["create_ticket", "send_email"])
        assert await world.ended(run_id) == "completed"
    assert len(world.effects()) == 2
    assert polling._metrics.matched.labels("guess")._value.get() == 2


@in_virtual_time
async def test_guess_may_give_a_call_the_result_of_another_turn() -> None:
    """Two turns that say the same within the window get one effect, whether they meant one or two."""
    world = World()
    async with at_work(world.polling()):
        _, first = await world.run(["create_ticket"])
        await world.ended(first)
        _, second = await world.run(["create_ticket"])
        assert await world.ended(second) == "completed"
        assert len(world.effects()) == 1
        await until(30)
        _, third = await world.run(["create_ticket"])
        await world.ended(third)
    assert len(world.effects()) == 2


@in_virtual_time
async def test_answer_to_a_submission_that_is_lost_costs_no_second_execution() -> None:
    """What the API refuses the second time is looked at, and was taken."""
    world = World(rates=Rates(submit_applied_503=1.0))
    async with at_work(world.polling()):
        _, run_id = await world.run(["create_ticket"], ["send_email"])
        assert await world.ended(run_id) == "completed"
    assert len(world.effects()) == 2


@in_virtual_time
async def test_instances_watch_their_shares() -> None:
    """Each run of a region is one instance's; those of another region are nobody's here."""
    world = World()
    async with at_work(*(world.polling(number=number, of=3, window_s=-1) for number in range(3))):
        runs = [(await world.run(["create_ticket"]))[1] for _ in range(6)]
        foreign = (await world.run(["create_ticket"], region="r2"))[1]
        assert {await world.ended(run_id) for run_id in runs} == {"completed"}
    assert len({effect.run_id for effect in world.effects()}) == len(world.effects()) == 6
    assert world.status(foreign) == "requires_action"


@in_virtual_time
async def test_run_that_moves_to_another_region_is_executed_there_as_well() -> None:
    """The other instance remembers nothing of it; of the two that hand in, the API refuses one."""
    world = World(tool=Tool(latency=Range(2, 2)))
    first, second = world.polling(region="r1"), world.polling(region="r2")
    async with at_work(first, second):
        thread_id, run_id = await world.run(["create_ticket"])
        await until(1)
        second.track(thread_id, run_id)
        assert await world.ended(run_id) == "completed"
        await until(30)
    assert len(world.effects()) == 2
    assert len(world.taken(run_id)) == 1
