"""Handing in a step's outputs: what is handed in, and when that is over."""

from __future__ import annotations

import json

from evaluation.variants.agents import Seen
from evaluation.variants.buffering import Batch
from evaluation.variants.metrics import Metrics
from evaluation.variants.submitting import OUTPUT_BYTES_MAX, Submitting, fit
from tests.evaluation.variants.shared_twin import SharedTwin
from tests.evaluation.variants.world import World
from tests.proxy.virtual import in_virtual_time, until


async def asking(world: World) -> Batch:
    """Return outputs that a run waits for."""
    await world.run(["create_ticket"])
    await until(1)
    waiting = await world.agents.waiting()
    assert isinstance(waiting, list)
    return Batch(waiting[0], {waiting[0].calls[0].id: "{}"})


def submitting(world: World, owner: str = "a", instead: list[Seen] | None = None) -> Submitting:
    """Return what hands in for an instance."""
    told = [] if instead is None else instead
    return Submitting(world.agents, SharedTwin(world.records, owner), Metrics(), told.append)


@in_virtual_time
async def test_outputs_are_handed_in_by_one_instance() -> None:
    """The other one drops its own, once it is told."""
    world = World()
    batch = await asking(world)
    assert await submitting(world, "a").hand_in(batch)
    assert await submitting(world, "b").hand_in(batch)
    assert len(world.api.submissions) == 1


@in_virtual_time
async def test_outputs_that_another_instance_hands_in_at_the_moment_are_kept() -> None:
    """It may die over it."""
    world = World()
    batch = await asking(world)
    await SharedTwin(world.records, "b").begin_attempt(batch.run.step)
    assert not await submitting(world, "a").hand_in(batch)
    assert world.api.submissions == []


@in_virtual_time
async def test_outputs_of_a_step_that_is_asked_for_anew_are_over() -> None:
    """They belong to no call any more: what the run asks for instead is told."""
    world, instead = World(), list[Seen]()
    batch = await asking(world)
    world.api.life.regenerate(world.api.life.runs[batch.run.run_id], 1.0, same_step=True)
    assert await submitting(world, instead=instead).hand_in(batch)
    assert [seen.run_id for seen in instead] == [batch.run.run_id]
    assert instead[0].step != batch.run.step
    assert world.taken(batch.run.run_id) == []


@in_virtual_time
async def test_api_that_is_away_leaves_the_outputs_to_be_handed_in_by_anybody() -> None:
    """After three tries."""
    world = World()
    batch = await asking(world)
    world.exchange.down.add("api")
    assert not await submitting(world, "a").hand_in(batch)
    world.exchange.down.clear()
    assert await submitting(world, "b").hand_in(batch)
    assert len(world.taken(batch.run.run_id)) == 1


def test_output_that_the_api_would_not_take_becomes_an_error() -> None:
    """JSON as text goes through as it is; anything else, and too much, is told to be what it is."""
    assert fit('{"id": 1}') == '{"id": 1}'
    for output in ("no JSON", "", '"' + "x" * OUTPUT_BYTES_MAX + '"', '"\ud800"'):
        assert json.loads(fit(output))["error"]["outcome"] == "invalid-output"
