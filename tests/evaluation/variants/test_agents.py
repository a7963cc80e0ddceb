"""The API as the reference coordinators use it, against the simulator in virtual time."""

from __future__ import annotations

import pytest

from evaluation.assistants.script import Rates
from evaluation.variants.agents import Agents, Failed, Gone, Refused, Seen
from evaluation.variants.exchange import Lost, NotSent, Replied
from tests.evaluation.variants.test_workers import Tool
from tests.evaluation.variants.world import World, message
from tests.proxy.virtual import in_virtual_time, until


async def asking(world: World) -> Seen:
    """Return a run that waits for outputs."""
    thread_id, run_id = await world.run(["create_ticket"])
    await until(5)
    seen = await world.agents.look(thread_id, run_id)
    assert isinstance(seen, Seen)
    return seen


@in_virtual_time
async def test_run_shows_what_it_waits_for_and_takes_it() -> None:
    """With the metadata that it was made with."""
    world = World()
    seen = await asking(world)
    assert (seen.status, seen.marks) == ("requires_action", {"region": "r1", "tenant": "t1"})
    assert [(call.tool, call.arguments) for call in seen.calls] == [("create_ticket", '{"subject":"0-0"}')]
    assert await world.agents.waiting() == [seen]
    taken = await world.agents.submit(seen.thread_id, seen.run_id, {seen.calls[0].id: "{}"})
    assert isinstance(taken, Seen)
    assert taken.status == "in_progress"
    assert await world.agents.waiting() == []


@in_virtual_time
async def test_outputs_that_are_not_wanted_are_refused() -> None:
    """With the API's own words."""
    world = World()
    seen = await asking(world)
    told = await world.agents.submit(seen.thread_id, seen.run_id, {"call_x": "{}"})
    assert isinstance(told, Refused)
    assert not told.busy
    assert "call_x" in told.why


@in_virtual_time
async def test_thread_with_an_active_run_is_busy() -> None:
    """It takes no other."""
    world = World()
    seen = await asking(world)
    told = await world.agents.create_run(seen.thread_id, "asst_1", "again", {})
    assert isinstance(told, Refused)
    assert told.busy


@in_virtual_time
async def test_run_is_found_by_the_turn_that_it_was_made_for() -> None:
    """In its thread, and in no other."""
    world = World()
    thread = await world.agents.create_thread()
    assert isinstance(thread, str)
    made = await world.agents.create_run(thread, "asst_1", message(["create_ticket"]), {"turn": "t1/a"})
    assert isinstance(made, Seen)
    found = await world.agents.find_run(thread, "t1/a")
    assert isinstance(found, Seen)
    assert found.run_id == made.run_id
    assert await world.agents.find_run(thread, "t1/b") is None
    assert await world.agents.find_run("thread_x", "t1/a") is None


@in_virtual_time
async def test_run_that_is_not_there_is_gone() -> None:
    """The API says 404."""
    assert await World().agents.look("thread_x", "run_x") == Gone()


@in_virtual_time
@pytest.mark.parametrize("fault", ["submit_applied_503", "submit_applied_cut"])
async def test_answer_to_a_change_that_is_lost_may_have_been_a_yes(fault: str) -> None:
    """So it says, and whoever asked looks."""
    world = World(rates=Rates(**{fault: 1.0}))
    seen = await asking(world)
    told = await world.agents.submit(seen.thread_id, seen.run_id, {seen.calls[0].id: "{}"})
    assert isinstance(told, Failed)
    assert told.done


@in_virtual_time
@pytest.mark.parametrize(
    ("answer", "done"),
    [
        (NotSent("refused"), False),
        (Lost("cut"), True),
        (Replied(429, {}, b""), False),
        (Replied(500, {}, b"?"), True),
        (Replied(200, {}, b"no run"), True),
    ],
)
async def test_api_that_fails_says_whether_it_may_have_acted(answer: Replied | NotSent | Lost, done: bool) -> None:
    """A question may be asked again in any case."""
    agents = Agents("http://api/v1/", Tool(answer))
    told = await agents.create_thread()
    assert isinstance(told, Failed)
    assert told.done is done
    assert isinstance(await agents.look("thread_1", "run_1"), Failed)
    assert isinstance(await agents.find_run("thread_1", "t1/a"), Failed)
    assert isinstance(await agents.waiting(), Failed)
