"""A model that restarts in the middle of a step and asks for its calls again, under other ids: each runs once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from coordinator.records import Run
from coordinator.turns import Started, TurnAsk
from ledger.store import StoreUnavailable
from tests.coordinator.house import House, house
from tests.coordinator.telling import (
    MAIL,
    REFUND,
    TICKET,
    asked_of_proxy,
    asks,
    executed,
    lines,
    outcomes,
    renewed,
    started,
    written,
)
from tests.proxy.virtual import in_virtual_time, run

pytestmark = pytest.mark.fault(67)
HOME = pytest.mark.parametrize("same_step", [True, False], ids=["same-step", "new-step"])
ENOUGH = 70
"""A life of so many touches has seen it all; only a stray makes one longer, which waits for its deadline."""


async def completed(now: House, run_id: str) -> Run:
    """Return the run's record at its end: both calls ran once, and the API has taken the outputs of the newest ids."""
    record = await now.ended(run_id)
    assert record.status == "completed"
    assert sorted(executed(now)) == ["create_ticket", "send_email"]
    assert [len(outputs) for _, outputs in now.api.accepted] == [2]
    assert outcomes(now) == ["result", "result"]
    assert all(call.output for call in now.life.runs[run_id].steps[0].calls)
    return record


@HOME
@in_virtual_time
async def test_calls_asked_for_anew_before_they_were_seen_are_the_first(same_step: bool) -> None:
    """Nobody has seen the first ids: there is nothing to match, and nothing to remember."""
    async with house() as now:
        now.replica()
        run_id = await started(now, [TICKET, MAIL])
        await asks(now, run_id)
        renewed(now, run_id, same_step=same_step)
        assert len((await completed(now, run_id)).steps) == 1


@HOME
@in_virtual_time
async def test_calls_asked_for_anew_while_they_run_are_joined(same_step: bool) -> None:
    """The calls under way are those of the new ids: the proxy is not asked again, and the new ids get the results."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 3.0
        now.replica()
        run_id = await started(now, [TICKET, MAIL])
        await asked_of_proxy(now, 2)
        renewed(now, run_id, same_step=same_step)
        record = await completed(now, run_id)
        assert "asked-again" in lines(record)
        assert [step.state for step in record.steps] == ["superseded", "submitted"]
        assert len(now.tools.asked) == 2


@HOME
@in_virtual_time
async def test_calls_asked_for_anew_after_a_result_keep_it(same_step: bool) -> None:
    """One call has its result, the other is out: the first's is handed in under its new id, and not asked for again."""
    async with house() as now:
        now.tools.takes_s["send_email"] = 3.0
        now.replica()
        run_id = await started(now, [TICKET, MAIL])
        await written(now, run_id, "result")
        renewed(now, run_id, same_step=same_step)
        await completed(now, run_id)
        assert [ask.tool for ask in now.tools.asked] == ["create_ticket", "send_email"]


@HOME
@pytest.mark.fault(65)
@in_virtual_time
async def test_calls_asked_for_anew_while_a_submission_is_unclear_are_submitted_anew(same_step: bool) -> None:
    """Nobody knows that the first ids' outputs were not taken: the new ids get them, and nothing runs again."""
    async with house() as now:
        now.replica()
        now.api.faults["submit"] = ["lost"]
        run_id = await started(now, [TICKET, MAIL])
        await written(now, run_id, "submitting")
        renewed(now, run_id, same_step=same_step)
        record = await completed(now, run_id)
        assert len(now.tools.asked) == 2
        assert [step.attempts[-1].end for step in record.steps] == ["not-taken", "accepted"]


@HOME
@in_virtual_time
async def test_call_asked_for_anew_with_other_arguments_is_never_executed(same_step: bool) -> None:
    """The mail ran as it was first asked for; a variant of it is told to be one, at its deadline, and does not run."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 3.0
        now.replica()
        run_id = await started(now, [TICKET, MAIL])
        await asked_of_proxy(now, 2)
        renewed(now, run_id, same_step=same_step, calls=[TICKET, REFUND])
        record = await now.ended(run_id, 200)
        assert record.status == "completed"
        assert executed(now) == ["send_email", "create_ticket"]
        assert outcomes(now) == ["result", "regenerated_call"]
        assert record.steps[-1].calls[1].stray


@in_virtual_time
async def test_call_after_an_accepted_submission_is_another_call() -> None:
    """The model asks for the same thing in its next step: that is its wish, and the effect key's business."""
    async with house() as now:
        now.replica()
        run_id = await started(now, [TICKET], [TICKET])
        record = await now.ended(run_id)
        assert executed(now) == ["create_ticket", "create_ticket"]
        assert not any(call.asked_as or call.stray for step in record.steps for call in step.calls)


async def story(now: House, steps: int, *, same_step: bool, at_s: float, fault: str, other: bool) -> bool:
    """A replica with `steps` to live has a run whose calls are asked for anew `at_s` after they were first; another
    takes over. Say whether the first one died."""
    now.tools.takes_s = {"create_ticket": 0.3, "send_email": 0.8}
    now.api.faults["submit"] = [fault] if fault else []
    now.api.plans["plan"] = [[TICKET, MAIL]]
    mortal = now.replica(steps=steps)
    first = asyncio.ensure_future(mortal.turns.start(TurnAsk("turn-1", "plan", "asst_1")))
    with contextlib.suppress(TimeoutError, StoreUnavailable):
        async with asyncio.timeout(1):
            await asyncio.shield(first)
    heir = now.replica()
    told = await heir.turns.start(TurnAsk("turn-1", "plan", "asst_1"))
    while not isinstance(told, Started):
        told = await heir.turns.start(TurnAsk("turn-1", "plan", "asst_1"))
    await asks(now, told.run_id)
    await asyncio.sleep(at_s)
    renewed(now, told.run_id, same_step=same_step, calls=[TICKET, REFUND] if other else ())
    record = await now.ended(told.run_id, 300, 1.0)
    died = mortal.lifetime.over.is_set()
    await asyncio.wait([first], timeout=0)
    first.cancel()
    assert record.status == "completed"
    if other:
        assert executed(now).count("create_ticket") == 1
        assert executed(now).count("send_email") + executed(now).count("refund_payment") <= 1  # variants of one call
    else:
        assert sorted(executed(now)) == ["create_ticket", "send_email"]
        assert outcomes(now) == ["result", "result"]
    assert len(now.api.accepted) == 1
    return died


@pytest.mark.parametrize(
    ("same_step", "at_s", "fault", "other"),
    [
        (True, 0.0, "", False), (False, 0.0, "", False),
        (True, 0.4, "", False), (False, 0.4, "", False),
        (False, 0.8, "", False), (True, 1.1, "lost", False),
        (False, 0.4, "", True),
    ],
)  # fmt: skip
@pytest.mark.fault(64)
def test_death_at_any_step_while_calls_are_asked_for_anew_leaves_each_once(
    same_step: bool, at_s: float, fault: str, other: bool
) -> None:
    """For every n: the process dies at its n-th touch of the world, and the model asks anew at a fixed moment."""

    async def tried(steps: int) -> bool:
        async with house() as now:
            return await story(now, steps, same_step=same_step, at_s=at_s, fault=fault, other=other)

    deaths = 0
    while deaths < ENOUGH and run(tried(deaths)):
        deaths += 1
    assert deaths > 20
