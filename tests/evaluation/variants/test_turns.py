"""Starting turns, against the simulator in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from evaluation.assistants.script import Rates, Script
from evaluation.scripts import Range
from evaluation.variants.polling import OwnTurns
from evaluation.variants.turns import NotStarted, Remembered, Started, Turns
from tests.evaluation.variants.shared_twin import SharedTwin
from tests.evaluation.variants.world import World, ask
from tests.proxy.virtual import in_virtual_time


def turns(world: World, *, shared: bool, owner: str = "a") -> Turns:
    """Return an instance's turns, which it remembers alone or with the others."""
    remembered: Remembered = SharedTwin(world.records, owner) if shared else OwnTurns()
    return Turns(world.agents, remembered, "r1")


@in_virtual_time
@pytest.mark.parametrize("shared", [True, False])
async def test_turn_that_is_sent_twice_is_started_once(shared: bool) -> None:
    """At once or later, at one instance; the run says whose it is."""
    world = World()
    starting = turns(world, shared=shared)
    first, second = await asyncio.gather(*(starting.start(ask("a", ["create_ticket"])) for _ in range(2)))
    assert isinstance(first, Started)
    assert isinstance(second, Started)
    assert (first.anew, second.anew) == (True, False)
    third = await starting.start(ask("a", ["create_ticket"]))
    assert third == second == Started(first.thread_id, first.run_id)
    (run,) = world.api.life.runs.values()
    assert run.metadata == {"turn": "t1/a", "tenant": "t1", "user": "u1", "region": "r1"}


@in_virtual_time
@pytest.mark.parametrize(("shared", "runs"), [(True, 1), (False, 2)])
async def test_turn_that_is_sent_to_two_instances_is_one_where_they_share(shared: bool, runs: int) -> None:
    """Variant A's instances share nothing: there it is two turns, in two threads."""
    world = World()
    for owner in ("a", "b"):
        assert isinstance(await turns(world, shared=shared, owner=owner).start(ask("a", ["x"])), Started)
    assert len(world.api.life.runs) == runs


@in_virtual_time
@pytest.mark.parametrize("steps", [[], [["create_ticket"]]])
async def test_creation_whose_answer_was_lost_is_looked_for_before_it_is_made_again(steps: list[list[str]]) -> None:
    """The run carries the turn's name, whether or not it has ended meanwhile."""
    world = World()
    thread = await world.agents.create_thread()
    world.api._fate.script = Script(queue=Range(0, 0), think=Range(0, 0), rates=Rates(create_applied_503=1.0))
    told = await turns(world, shared=True).start(ask("a", *steps, thread_id=str(thread)))
    assert isinstance(told, Started)
    assert [*world.api.life.runs] == [told.run_id]


@in_virtual_time
async def test_thread_that_is_busy_with_this_very_turn_has_its_run() -> None:
    """The run is found there by the turn's name, also by an instance that knows nothing of it."""
    world = World()
    thread = str(await world.agents.create_thread())
    first = await turns(world, shared=False).start(ask("a", ["x"], thread_id=thread))
    second = await turns(world, shared=False).start(ask("a", ["x"], thread_id=thread))
    assert isinstance(first, Started)
    assert second == Started(first.thread_id, first.run_id)


@in_virtual_time
async def test_thread_that_is_busy_with_another_turn_is_told_of() -> None:
    """And the turn may be sent again later, under the same id."""
    world = World()
    thread = str(await world.agents.create_thread())
    starting = turns(world, shared=True)
    first = await starting.start(ask("a", thread_id=thread))
    assert isinstance(first, Started)
    second = await starting.start(ask("b", thread_id=thread))
    assert isinstance(second, NotStarted)
    assert second.why == "thread-busy"
    await world.ended(first.run_id)
    assert isinstance(await starting.start(ask("b", thread_id=thread)), Started)


@in_virtual_time
async def test_api_that_is_away_or_says_no_starts_nothing() -> None:
    """Each is told for what it is."""
    world = World()
    starting = turns(world, shared=True)
    world.exchange.down.add("api")
    away = await starting.start(ask("a", ["x"]))
    world.exchange.down.clear()
    no = await starting.start(ask("b", ["x"], thread_id="thread_x"))
    assert isinstance(away, NotStarted)
    assert isinstance(no, NotStarted)
    assert (away.why, no.why) == ("backend-unavailable", "backend-refused")
    assert isinstance(await starting.start(ask("a", ["x"])), Started)


@in_virtual_time
async def test_turn_goes_on_when_its_caller_hangs_up() -> None:
    """Who sends it again gets its run."""
    world = World()
    starting = turns(world, shared=True)
    caller = asyncio.ensure_future(starting.start(ask("a", ["x"])))
    await asyncio.sleep(0)
    caller.cancel()
    assert isinstance(await starting.start(ask("a", ["x"])), Started)
    assert len(world.api.life.runs) == 1
