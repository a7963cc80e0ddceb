"""The API misbehaves: submits whose fate is unclear, refusals, pauses, old pictures, others at the same run."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from coordinator.backend import ENDED
from coordinator.records import run_key
from tests.coordinator.api_twin import WISH_MS
from tests.coordinator.house import house
from tests.coordinator.telling import (
    MAIL,
    REFUND,
    TICKET,
    UNKNOWN,
    asked_of_proxy,
    asks,
    executed,
    let_go,
    lines,
    outcomes,
    started,
    written,
)
from tests.proxy.virtual import in_virtual_time, settled
from tests.proxy.virtual import now as moment


def attempts(record: object) -> list[str]:
    """Return how the submissions of a run's first step ended."""
    return [one.end for one in record.steps[0].attempts]  # type: ignore[attr-defined]


@pytest.mark.fault(65)
@pytest.mark.parametrize(
    ("fault", "ends"), [("cut", ["accepted"]), ("lost", ["not-taken", "accepted"]), ("away", ["not-sent", "accepted"])]
)
@in_virtual_time
async def test_submission_without_an_answer_is_asked_about_before_it_is_repeated(fault: str, ends: list[str]) -> None:
    """What was taken is not sent again; what was not is, as a new attempt; the record says which was which."""
    async with house() as now:
        now.replica()
        now.api.faults["submit"] = [fault]
        record = await now.ended(await started(now, [TICKET]))
        assert record.status == "completed"
        assert attempts(record) == ends
        assert now.api.asked.count("submit") == len(ends)
        assert len(now.api.accepted) == 1


@pytest.mark.fault(65)
@in_virtual_time
async def test_api_that_wishes_for_a_pause_gets_it() -> None:
    """429 with a wish of two seconds: nothing is submitted before that, and then once."""
    async with house() as now:
        now.replica()
        now.api.faults["submit"] = ["busy"]
        run_id = await started(now, [TICKET])
        await written(now, run_id, "submission-not-sent")
        tried = (await now.record(run_id)).steps[0].attempts[0].at_ms
        record = await now.ended(run_id)
        assert attempts(record) == ["not-sent", "accepted"]
        assert record.steps[0].attempts[1].at_ms - tried >= WISH_MS


@pytest.mark.fault(65)
@in_virtual_time
async def test_submissions_that_are_never_taken_become_seldom() -> None:
    """An API that shows the run and takes no output of it is tried ten times in 20 s, at most."""
    async with house() as now:
        now.replica()
        now.api.faults["submit"] = ["away"] * 1_000
        run_id = await started(now, [TICKET])
        await asks(now, run_id)
        await asyncio.sleep(20)
        assert 4 <= now.api.asked.count("submit") <= 10
        now.api.faults["submit"] = []
        assert (await now.ended(run_id)).status == "completed"


@pytest.mark.fault(66)
@in_virtual_time
async def test_submission_to_a_run_that_moved_on_is_refused_and_not_repeated() -> None:
    """Somebody cancels the run in the moment of the submit: one refusal, and the run's end is found by asking."""
    async with house() as now:
        now.replica()
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        now.life.cancel(now.life.runs[run_id], now.api.now())
        now.life._due[run_id] = now.api.now() + 5
        record = await now.ended(run_id)
        assert record.status == "cancelled"
        assert now.api.accepted == []
        assert attempts(record) == ["refused"]


@pytest.mark.fault(66)
@in_virtual_time
async def test_outputs_that_somebody_else_submits_are_not_submitted_again() -> None:
    """Another program hands in the step's outputs while its call runs: ours are recorded, and go nowhere."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 2.0
        replica = now.replica()
        run_id = await started(now, [TICKET], [MAIL])
        step = await asks(now, run_id)
        await asked_of_proxy(now, 1)
        now.life.submit(now.life.runs[run_id], {call.id: '"theirs"' for call in step.calls}, now.api.now())
        await let_go(replica)
        record = await now.record(run_id)
        assert record.status == "completed"
        assert record.steps[0].state == "submitted"
        assert step.calls[0].output == '"theirs"'
        assert len(now.api.accepted) == 1
        assert executed(now) == ["send_email", "create_ticket"]


@in_virtual_time
async def test_api_that_is_away_for_half_a_minute_stops_no_run() -> None:
    """The tool runs on meanwhile; soon after the API is back the outputs are there, once."""
    for phase_s in (0.0, 0.1, 0.3, 0.35, 0.4, 0.5, 0.7):
        async with house() as now:
            now.replica()
            run_id = await started(now, [TICKET])
            await asyncio.sleep(phase_s)
            now.api.down = True
            await asyncio.sleep(30)
            now.api.down = False
            back = moment()
            record = await now.ended(run_id)
            assert record.status == "completed", phase_s
            assert moment() - back < 8, phase_s
            assert executed(now) == ["create_ticket"]
            assert len(now.api.accepted) == 1


@pytest.mark.parametrize("at", range(1, 14))
@in_virtual_time
async def test_old_pictures_lead_to_nothing_twice(at: int) -> None:
    """Four looks in a row, from the `at`-th on, show the run as it was before: all happens once all the same."""
    async with house() as now:
        now.replica()
        now.api.faults["look"] = [""] * at + ["stale"] * 4
        record = await now.ended(await started(now, [TICKET], [MAIL]))
        assert record.status == "completed"
        assert executed(now) == ["create_ticket", "send_email"]
        assert len(now.api.accepted) == 2
        assert [step.state for step in record.steps] == ["submitted", "submitted"]
        assert len(now.tools.asked) == 2


@in_virtual_time
async def test_run_cancelled_while_its_calls_run_ends_and_the_truth_is_kept() -> None:
    """Nothing is submitted; what the tool did is written down when it is known, and then the run is let go."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 5.0
        replica = now.replica()
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        now.life.cancel(now.life.runs[run_id], now.api.now())
        await let_go(replica)
        record = await now.record(run_id)
        assert record.status == "cancelled"
        assert now.api.asked.count("submit") == 0
        assert executed(now) == ["create_ticket"]
        assert lines(record)[-1] == "late"


@pytest.mark.fault(74)
@in_virtual_time
async def test_run_with_a_call_still_out_gets_an_honest_error_in_time() -> None:
    """Five steps take up the run's ten minutes; the last call is out when they end: an error is handed in before that,
    and the late truth is written down afterwards."""
    async with house() as now:
        now.tools.takes_s = {"create_ticket": 115.0, "refund_payment": 300.0}
        replica = now.replica()
        run_id = await started(now, *[[TICKET]] * 5, [REFUND])
        step = await asks(now, run_id, 6)
        begun = now.life.runs[run_id].expires_at - 600
        record = await now.ended(run_id, 700)
        assert record.status == "completed"
        assert [outcomes(now, number) for number in (0, 4, 5)] == [["result"], ["result"], ["overdue"]]
        assert json.loads(step.calls[0].output or "")["error"]["do_not_repeat"] is True
        assert begun + 580 <= record.steps[5].attempts[0].at_ms / 1_000 < begun + 590
        await let_go(replica)
        record = await now.record(run_id)
        assert lines(record)[-1] == "late"
        assert executed(now)[-1] == "refund_payment"


@in_virtual_time
async def test_late_truth_is_told_once(tmp_path: Path) -> None:
    """However often the run is looked at before it is written down."""
    log = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    async with house(log_fd=log) as now:
        now.tools.takes_s = {"refund_payment": 125.0, "create_ticket": 60.0}
        replica = now.replica()
        run_id = await started(now, [REFUND], [TICKET])
        while "refund_payment" not in executed(now):
            replica.watching.nudge(run_key("assistants", run_id), "nudge", stale=False)
            await asyncio.sleep(0.1)
        for _ in range(20):
            replica.watching.nudge(run_key("assistants", run_id), "nudge", stale=False)
            await asyncio.sleep(0.1)
        assert "late" in lines(await now.record(run_id))
    os.close(log)
    assert (tmp_path / "log").read_text().count("result.late") == 1


@in_virtual_time
async def test_call_that_may_have_run_is_told_as_such_at_once() -> None:
    """The proxy says that nothing can end the doubt: the model is told within a second, and nobody asks again."""
    async with house() as now:
        now.tools.told["create_ticket"] = [UNKNOWN]
        now.replica()
        run_id = await started(now, [TICKET])
        await asks(now, run_id)
        asked = moment()
        record = await now.ended(run_id)
        assert moment() - asked < 1.5
        assert outcomes(now) == ["unknown"]
        told = json.loads(now.api.accepted[0][1][0])["error"]
        assert (told["operation"], told["do_not_repeat"]) == ("op_1", True)
        assert record.steps[0].calls[0].given is not None
        assert len(now.tools.asked) == 1


@pytest.mark.parametrize("phase_s", [0.0, 0.4, 2.0])
@in_virtual_time
async def test_run_that_is_gone_is_let_go(phase_s: float) -> None:
    """The API knows the run no more (404): whatever was under way, its record ends, and nothing is kept."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 4.0
        replica = now.replica()
        run_id = await started(now, [TICKET])
        await asyncio.sleep(phase_s)
        del now.life.runs[run_id]
        record = await now.ended(run_id)
        assert record.status not in ENDED
        assert "No run found" in record.why
        await let_go(replica)
        assert now.api.accepted == []


@in_virtual_time
async def test_nudge_while_the_api_is_asked_leads_to_another_look() -> None:
    """A notification that comes while a look is under way may tell of what that look was too early for."""
    async with house() as now:
        replica = now.replica()
        replica.means.notifications.came(asyncio.get_running_loop().time())
        run_id = await started(now, [])
        await settled()
        looks = now.api.asked.count("look")
        assert looks == 1  # it is under way
        replica.watching.nudge(f"run:assistants:{run_id}", "webhook", stale=False)
        await asyncio.sleep(0.01)
        assert now.api.asked.count("look") == 2
