"""Variant B in virtual time: what it does when all is well, and by which mechanisms of its design it acts twice."""

from __future__ import annotations

import pytest

from evaluation.assistants.script import Rates
from evaluation.scripts import Range
from evaluation.tools.script import Tool
from evaluation.variants.buffering import Batch
from tests.evaluation.variants.shared_twin import Records, SharedTwin
from tests.evaluation.variants.world import World, at_work
from tests.proxy.virtual import in_virtual_time, now, until

SLOW = Tool(latency=Range(10.5, 10.5))
"""Slower than a worker waits."""


@in_virtual_time
async def test_run_that_meets_no_fault_has_each_effect_once() -> None:
    """Notified instances, whichever is told, bring a run to its end, and poll for nothing."""
    world = World()
    async with at_work(*(world.hybrid(number=number, of=3) for number in range(3))):
        _, run_id = await world.run(["create_ticket", "send_email"], ["refund_payment"])
        assert await world.ended(run_id) == "completed"
    assert [effect.tool for effect in world.effects()] == ["create_ticket", "send_email", "refund_payment"]
    assert [len(outputs) for outputs in world.taken(run_id)] == [2, 1]
    assert len(world.api.submissions) == 2


@in_virtual_time
async def test_notification_that_is_lost_is_made_up_for_by_polling() -> None:
    """The instance whose share it is takes the run within 5 s of its waiting."""
    world = World(think_s=0.0)
    async with at_work(world.hybrid(notified=False)):
        _, run_id = await world.run(["create_ticket"])
        assert await world.ended(run_id) == "completed"
    assert 3 <= now() <= 5
    assert len(world.effects()) == 1


@in_virtual_time
async def test_call_that_takes_longer_than_a_worker_waits_is_executed_again() -> None:
    """A time-out is taken for a failure; what is shared is written at submission, which is too late."""
    world = World(tool=SLOW)
    async with at_work(world.hybrid()):
        _, run_id = await world.run(["create_ticket"])
        assert await world.ended(run_id) == "completed"
        await until(60)
    assert len(world.effects()) == 3
    assert len({effect.tool_call_id for effect in world.effects()}) == 1


@in_virtual_time
async def test_two_instances_that_see_a_step_both_execute_it_and_one_hands_in() -> None:
    """One was notified, and the other's share it is: after 3 s it cannot know that somebody is at work."""
    world = World(tool=Tool(latency=Range(6, 6)))
    notified = world.hybrid()
    async with at_work(notified, world.hybrid(notified=False)):
        _, run_id = await world.run(["create_ticket"])
        assert await world.ended(run_id) == "completed"
        await until(30)
    assert len(world.effects()) == 2
    assert len(world.api.submissions) == 1


@in_virtual_time
async def test_instance_that_is_killed_is_replaced_by_whoever_polls() -> None:
    """Its calls are executed again, by the instance whose share the run is or by itself when it is back."""
    world = World(tool=Tool(latency=Range(2, 2)))
    async with at_work(world.hybrid()):
        _, run_id = await world.run(["create_ticket"])
        await until(1)
    world.instances.clear()
    async with at_work(world.hybrid()):
        assert await world.ended(run_id) == "completed"
    assert len(world.effects()) == 2


@in_virtual_time
@pytest.mark.parametrize("same_step", [True, False])
async def test_step_asked_for_again_under_new_ids_is_executed_again(same_step: bool) -> None:
    """The strict correlator never gives one call another's result: what A gets right by a guess, B does twice."""
    rates = Rates(regenerate=1.0) if same_step else Rates(regenerate_step=1.0)
    world = World(rates=rates, tool=Tool(latency=Range(0.5, 0.5)))
    async with at_work(world.hybrid()):
        _, run_id = await world.run(["create_ticket", "send_email"])
        assert await world.ended(run_id) == "completed"
        await until(30)
    assert len(world.effects()) == 4
    assert len(world.taken(run_id)) == 1


@in_virtual_time
@pytest.mark.parametrize("fault", ["submit_applied_503", "submit_applied_cut"])
async def test_answer_to_a_submission_that_is_lost_is_cleared_up_by_a_look(fault: str) -> None:
    """Nothing is handed in twice, and nothing is executed twice."""
    world = World(rates=Rates(**{fault: 1.0}))
    async with at_work(world.hybrid()):
        _, run_id = await world.run(["create_ticket"], ["send_email"])
        assert await world.ended(run_id) == "completed"
    assert len(world.effects()) == 2
    assert [submission.taken for submission in world.api.submissions] == [True, True]


@in_virtual_time
async def test_submission_of_an_instance_that_died_over_it_is_made_by_another() -> None:
    """Its attempt lapses; until then nobody hands in what may have been handed in."""
    world = World()
    _, run_id = await world.run(["create_ticket"])
    await until(1)
    waiting = await world.agents.waiting()
    assert isinstance(waiting, list)
    await SharedTwin(world.records, "dead").begin_attempt(waiting[0].step)
    async with at_work(world.hybrid(notified=False)):
        assert await world.ended(run_id) == "completed"
    assert now() >= 12
    assert len(world.taken(run_id)) == 1


@in_virtual_time
@pytest.mark.parametrize(("known", "effects"), [(True, 0), (False, 1)])
async def test_submission_that_was_taken_for_made_is_made_in_the_end(known: bool, effects: int) -> None:
    """It failed, and an old picture of the run said otherwise. Polling sees that the run still waits: the instance that
    has the outputs hands them in again; another one executes for it."""
    world = World()
    _, run_id = await world.run(["create_ticket"])
    await until(1)
    waiting = await world.agents.waiting()
    assert isinstance(waiting, list)
    (run,) = waiting
    hybrid = world.hybrid(notified=False)
    await hybrid._shared.submitted(run.step)
    if known:
        hybrid._steps.put(run.step, Batch(run, {run.calls[0].id: "{}"}))
    async with at_work(hybrid):
        assert await world.ended(run_id, within_s=10) == "completed"
    assert len(world.effects()) == effects
    assert len(world.taken(run_id)) == 1


@in_virtual_time
async def test_redis_that_is_away_stalls_no_run() -> None:
    """Outputs are handed in without a record; the API takes them once in any case."""
    world = World()
    world.records.away = True
    async with at_work(world.hybrid()):
        _, run_id = await world.run(["create_ticket"])
        assert await world.ended(run_id, within_s=5) == "completed"
    assert len(world.effects()) == len(world.api.submissions) == 1


@in_virtual_time
async def test_stale_look_after_a_notification_is_looked_into() -> None:
    """The API shows a run as it was; the notification says otherwise, and is believed for a second."""
    world = World(rates=Rates(stale_read=0.5), think_s=0.0)
    async with at_work(world.hybrid()):
        runs = [(await world.run(["create_ticket"], ["send_email"]))[1] for _ in range(10)]
        assert {await world.ended(run_id) for run_id in runs} == {"completed"}
    assert len(world.effects()) == 20


@in_virtual_time
async def test_notification_that_comes_to_the_wrong_region_is_passed_on() -> None:
    """Each region has its own records: whoever is told of another's run executes nothing."""
    world = World(tool=Tool(latency=Range(4, 4)))
    home, other = world.hybrid(region="r1", notified=False), world.hybrid(region="r2", notified=False)
    passed: list[str] = []

    async def pass_on(region: str) -> bool:
        passed.append(region)
        home._go(thread_id, run_id, "webhook", looks=4)
        return True

    thread_id, run_id = await world.run(["create_ticket"])
    async with at_work(home, other):
        await until(0.5)
        await other._attend(thread_id, run_id, "webhook", 4, pass_on)
        assert await world.ended(run_id) == "completed"
        await until(30)
    assert passed == ["r1"]
    assert len(world.effects()) == 1


@in_virtual_time
async def test_run_that_moves_to_another_region_is_executed_there_as_well() -> None:
    """The regions share nothing: both execute, both hand in, and the API refuses one."""
    world = World(tool=Tool(latency=Range(2, 2)))
    first, second = world.hybrid(), world.hybrid(region="r2", notified=False, records=Records())
    async with at_work(first, second):
        thread_id, run_id = await world.run(["create_ticket"])
        await until(1)
        second.track(thread_id, run_id)
        assert await world.ended(run_id) == "completed"
        await until(30)
    assert len(world.effects()) == 2
    assert len(world.api.submissions) == 2
    assert len(world.taken(run_id)) == 1
