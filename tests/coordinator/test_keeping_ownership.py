"""Two and more replicas, stores that are away, and replicas that freeze: who does not own a run keeps its hands off."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.facts import PATIENCE_MS
from coordinator.means import Limits
from coordinator.records import run_key
from coordinator.store import Put
from tests.coordinator.house import house
from tests.coordinator.telling import (
    MAIL,
    TICKET,
    asked_of_proxy,
    asks,
    executed,
    let_go,
    lines,
    outcomes,
    started,
    written,
)
from tests.proxy.virtual import in_virtual_time, until
from tests.proxy.virtual import now as moment

VISIBLE_S = 15.0


@pytest.mark.fault(63)
@pytest.mark.parametrize("replicas", [2, 4])
@in_virtual_time
async def test_replicas_that_are_all_told_of_a_run_execute_it_once(replicas: int) -> None:
    """Everybody is told of every run, again and again; one has each, and each call is asked for once."""
    async with house() as now:
        for _ in range(replicas):
            now.replica()
        runs = [await started(now, [TICKET, MAIL], turn=f"turn-{number}", at=number % replicas) for number in range(8)]
        for _ in range(10):
            for run_id in runs:
                await now.store.hurry(run_key("assistants", run_id))
            await asyncio.sleep(0.05)
        for run_id in runs:
            assert (await now.ended(run_id)).status == "completed"
        assert len(now.tools.asked) == 16
        assert sorted(executed(now)) == ["create_ticket"] * 8 + ["send_email"] * 8
        assert len(now.api.accepted) == 8


@pytest.mark.fault(75)
@pytest.mark.parametrize("at", ["take", "look", "step", "result", "submitting"])
@in_virtual_time
async def test_replica_that_froze_does_nothing_when_it_comes_back(at: str) -> None:
    """Its calls to the store hang for longer than its visibility; another one takes over. When they return, it neither
    executes nor submits: every call to proxy and API from then on is the other's."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 1.0
        frozen = now.replica("frozen")
        run_id = await started(now, [TICKET], [MAIL])
        if at == "step":
            await asks(now, run_id)
        if at == "result":
            await asked_of_proxy(now, 1)
        if at == "submitting":
            await asked_of_proxy(now, 1)
            await asyncio.sleep(0.98)
        if at == "look":
            now.api.faults["look"] = ["slow"]
        frozen.weather.becomes("hung")
        heir = now.replica("heir")
        await asyncio.sleep(VISIBLE_S + 4)
        theirs = len(frozen.asked)
        frozen.weather.becomes("fine")
        assert (await now.ended(run_id)).status == "completed"
        await let_go(frozen)
        assert executed(now) == ["create_ticket", "send_email"]
        assert len(now.api.accepted) == 2
        assert [kind for kind in frozen.asked[theirs:] if kind in {"call", "submit"}] == []
        assert heir.asked.count("submit") >= 1


@pytest.mark.fault(75)
@in_virtual_time
async def test_look_that_outlasts_the_visibility_leads_to_nothing() -> None:
    """The API answers after 20 s, and the store is away all the time: what the answer asks for is another's to do."""
    async with house() as now:
        slow = now.replica("slow")
        run_id = await started(now, [TICKET])
        await written(now, run_id, "tracked")
        await asyncio.sleep(0.1)
        now.api.faults["look"] = ["slow"]
        slow.weather.becomes("away")
        await asyncio.sleep(VISIBLE_S + 1)
        now.replica("heir")
        assert (await now.ended(run_id)).status == "completed"
        assert slow.asked.count("call") == slow.asked.count("submit") == 0


@pytest.mark.fault(75)
@in_virtual_time
async def test_look_that_outlasts_the_visibility_starts_no_call_that_was_written_down_before() -> None:
    """A replica takes over a step that is in the record already; its first look, which brings the arguments, is too
    slow: there is nothing to write down before the calls, and still they are not its to make."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 60.0
        first = now.replica("first")
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        await first.kill()
        slow = now.replica("slow")
        now.api.faults["look"] = ["slow"]
        await asyncio.sleep(VISIBLE_S + 1)
        slow.weather.becomes("away")
        await asyncio.sleep(3)
        slow.tasks[1].cancel()
        await asyncio.sleep(VISIBLE_S)
        heir = now.replica("heir")
        assert (await now.ended(run_id, 100)).status == "completed"
        assert (slow.asked.count("call"), heir.asked.count("call")) == (0, 1)
        assert executed(now) == ["create_ticket"]


@pytest.mark.fault(75)
@in_virtual_time
async def test_submission_that_was_written_down_too_late_is_not_made() -> None:
    """The store takes the attempt's record after the visibility is over, when another replica has taken the run and has
    written nothing yet: the versions agree, and still it is the other's to submit."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 12.0
        frozen = now.replica("frozen")
        run_id = await started(now, [TICKET])
        frozen.tasks[1].cancel()  # it renews nothing
        await asked_of_proxy(now, 1)
        await asyncio.sleep(11.98)
        frozen.weather.becomes("hung")
        await asyncio.sleep(1)
        heir = now.replica("heir")
        await until(VISIBLE_S)
        now.api.faults["look"] = ["slow"] * 2
        await asyncio.sleep(3)
        assert heir.watching._keepings
        frozen.weather.becomes("fine")
        assert (await now.ended(run_id)).status == "completed"
        assert (frozen.asked.count("submit"), heir.asked.count("submit")) == (0, 1)
        assert len(now.api.accepted) == 1


@pytest.mark.parametrize("weather", ["away", "cut"])
@pytest.mark.parametrize("from_s", [0.0, 0.05, 0.25, 0.3, 0.5, 0.6, 0.7, 0.9])
@pytest.mark.parametrize("for_s", [3.0, 25.0])
@in_virtual_time
async def test_store_that_is_away_for_a_while_stops_no_run(weather: str, from_s: float, for_s: float) -> None:
    """Nothing is done that could not be written down before; soon after the store is back, all is done, once."""
    async with house() as now:
        replica = now.replica()
        run_id = await started(now, [TICKET, MAIL], [MAIL])
        await asyncio.sleep(from_s)
        replica.weather.becomes(weather)
        await asyncio.sleep(for_s)
        replica.weather.becomes("fine")
        back = moment()
        assert (await now.ended(run_id)).status == "completed"
        assert moment() - back < 4
        assert sorted(executed(now)) == ["create_ticket", "send_email", "send_email"]
        assert len(now.api.accepted) == 2


@pytest.mark.parametrize("then_s", [0.05, 0.25])
@in_virtual_time
async def test_run_that_is_lost_while_its_calls_run_is_left_alone(then_s: float) -> None:
    """Another replica owns it all of a sudden (an operator's mistake, a store that forgot): it joins the calls that are
    under way, and the first one submits nothing."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = 2.0
        first = now.replica("first")
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        await asyncio.sleep(then_s)
        key = run_key("assistants", run_id)
        standing = await now.store.read(key)
        assert standing is not None
        release = Put(key, standing.version, "by-hand", standing.record, "requires_action", "first", "release", 0)
        await now.store.swap(release)
        second = now.replica("second")
        first.watching._kick.clear()
        assert (await now.ended(run_id)).status == "completed"
        assert executed(now) == ["create_ticket"]
        assert first.asked.count("submit") + second.asked.count("submit") == 1


@pytest.mark.fault(64)
@in_virtual_time
async def test_run_that_is_lost_while_it_is_submitted_is_not_submitted_again() -> None:
    """The submit takes longer than the visibility, with the store away: the next owner asks the API, and finds out."""
    async with house() as now:
        first = now.replica("first")
        now.api.faults["submit"] = ["slow"]
        run_id = await started(now, [TICKET])
        await written(now, run_id, "submitting")
        await asyncio.sleep(0.01)
        first.weather.becomes("away")
        await asyncio.sleep(VISIBLE_S + 1)
        now.replica("second")
        record = await now.ended(run_id)
        assert record.status == "completed"
        assert len(now.api.accepted) == 1
        assert executed(now) == ["create_ticket"]
        assert "not-taken" in lines(record)


@in_virtual_time
async def test_record_that_cannot_be_read_anew_is_not_asked_for_all_the_time() -> None:
    """A nudge says that the record has changed, and the store is away: a few tries a second, not as many as go."""
    async with house() as now:
        replica = now.replica()
        run_id = await started(now, [TICKET])
        replica.weather.next["read"] = ["refused"] * 1_000
        before = replica.asked.count("read")
        replica.watching.nudged(run_key("assistants", run_id))
        await asyncio.sleep(2)
        assert 2 <= replica.asked.count("read") - before <= 10
        replica.weather.next.clear()
        assert (await now.ended(run_id)).status == "completed"


@pytest.mark.parametrize(("takes_s", "told"), [(20.0, "result"), (600.0, "overdue")])
@in_virtual_time
async def test_run_that_is_taken_after_the_time_of_its_calls_is_asked_for_once_more(takes_s: float, told: str) -> None:
    """All replicas were away for longer than a call has. The proxy has its result by then: it is handed in, and not an
    error. What is still at work after some seconds is told to be late."""
    async with house() as now:
        now.tools.takes_s["create_ticket"] = takes_s
        first = now.replica("first")
        run_id = await started(now, [TICKET])
        await asked_of_proxy(now, 1)
        await first.kill()
        await asyncio.sleep(PATIENCE_MS / 1_000 + 1)
        now.replica("heir")
        began = moment()
        assert (await now.ended(run_id)).status == "completed"
        assert moment() - began < 1 + Limits().taken_ms / 1_000
        assert outcomes(now) == [told]
        assert executed(now) == ["create_ticket"] * (told == "result")
