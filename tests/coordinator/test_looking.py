"""One look at a run: what the API is asked, and what is made of its answers."""

from __future__ import annotations

from coordinator.backend import Away, Gone
from coordinator.looking import judged
from coordinator.records import Run
from tests.coordinator.house import House, house
from tests.coordinator.telling import MAIL, TICKET, asked_of_proxy, asks, renewed, started, written
from tests.proxy.virtual import in_virtual_time


async def look(now: House, run: Run) -> Run | Gone | Away:
    """Look at a run as nobody's replica; note only what was asked."""
    now.api.asked.clear()
    return (await judged(now.replicas[0].means, run))[0]


@in_virtual_time
async def test_run_that_asks_for_nothing_is_asked_for_once() -> None:
    """One call to the API, whatever the step before."""
    async with house() as now:
        now.replica()
        run_id = await started(now, [TICKET])
        record = await now.record(run_id)
        assert isinstance(await look(now, record), Run)
        assert now.api.asked == ["look"]


@in_virtual_time
async def test_new_calls_come_with_their_step_and_arguments() -> None:
    """`required_action` names no step: it is found by the calls' ids; arguments are not kept in the record."""
    async with house() as now:
        now.replica()
        run_id = await started(now, [TICKET, MAIL])
        record = await now.record(run_id)
        step = await asks(now, run_id)
        now.api.asked.clear()
        after, arguments = await judged(now.replicas[0].means, record)
        assert isinstance(after, Run)
        assert now.api.asked == ["look", "steps"]
        assert [one.step_id for one in after.steps] == [step.id]
        assert arguments == {call.id: call.wanted.arguments for call in step.calls}
        assert b"Printer" not in repr(after).encode()


@in_virtual_time
async def test_step_that_waits_is_looked_at_without_its_outputs() -> None:
    """Polling a step that is open, while its tools work, is one call each."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 5.0
        now.replica()
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        record = await now.record(run_id)
        assert await look(now, record) is not record
        assert now.api.asked == ["look"]


@in_virtual_time
async def test_api_that_shows_the_run_and_not_its_steps_has_said_nothing() -> None:
    """Half an answer is none: neither new calls nor an unclear submission are judged by it."""
    async with house() as now:
        now.replica()
        run_id = await started(now, [TICKET])
        record = await now.record(run_id)
        await asks(now, run_id)
        now.api.faults["steps"] = ["away"]
        assert isinstance(await look(now, record), Away)


@in_virtual_time
async def test_run_that_vanishes_between_two_questions_is_gone() -> None:
    """The API knows the run at the first question and not at the second."""
    async with house() as now:
        now.replica()
        run_id = await started(now, [TICKET])
        record = await now.record(run_id)
        await asks(now, run_id)
        steps = now.api.steps

        async def late(*asked: object) -> object:
            del now.life.runs[run_id]
            return await steps(*asked)  # type: ignore[arg-type]

        now.api.steps = late  # type: ignore[method-assign,assignment]
        assert isinstance(await look(now, record), Gone)


@in_virtual_time
async def test_calls_asked_for_anew_are_judged_with_both_steps() -> None:
    """What the API has of the earlier step is asked for as well: its outputs may have been taken."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 5.0
        now.replica()
        run_id = await started(now, [TICKET])
        record = await written(now, run_id, "asked")
        renewed(now, run_id, same_step=False)
        after = await look(now, record)
        assert isinstance(after, Run)
        assert now.api.asked == ["look", "steps", "steps"]
        assert [step.state for step in after.steps] == ["superseded", "open"]
        assert after.steps[1].calls[0].known_as == record.steps[0].calls[0].tool_call_id
