"""Turns: thread, message and run are made once for each client_turn_id, whoever asks, dies, or loses an answer."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.turns import NotStarted, Started, TurnAsk
from tests.coordinator.house import House, house, looked_for
from tests.coordinator.telling import TICKET, executed
from tests.proxy.virtual import in_virtual_time
from tests.proxy.virtual import now as moment
from tests.proxy.virtual import run as told

ASK = TurnAsk("turn-1", "plan", "asst_1")


def planned(now: House) -> House:
    """Have the model ask for a ticket."""
    now.api.plans["plan"] = [[TICKET]]
    return now


def made(now: House) -> tuple[int, int]:
    """Return how many messages of the user, and how many runs there are."""
    said = [message for thread in now.life.threads.values() for message in thread.messages if message.role == "user"]
    return len(said), len(now.life.runs)


@pytest.mark.parametrize("at", [0, 1])
@in_virtual_time
async def test_user_who_clicks_twice_gets_one_run(at: int) -> None:
    """At one replica and at two, at the same time and later: one message, one run, the same ids; one of them is told
    that it is new."""
    async with house() as now:
        planned(now)
        replicas = [now.replica(), now.replica()]
        clicks = (replicas[0].turns.start(ASK), replicas[at].turns.start(ASK), replicas[at].turns.start(ASK))
        answers = [*await asyncio.gather(*clicks), await replicas[at].turns.start(ASK)]
        assert all(isinstance(one, Started) for one in answers)
        assert len({(one.thread_id, one.run_id) for one in answers if isinstance(one, Started)}) == 1
        assert [one.anew for one in answers if isinstance(one, Started)].count(True) == 1
        assert made(now) == (1, 1)


@pytest.mark.parametrize("wait_s", [0.0, 0.005, 1.0])
@pytest.mark.parametrize("at", [0, 1])
@in_virtual_time
async def test_other_request_under_the_same_id_is_told_so(wait_s: float, at: int) -> None:
    """While the first is under way and afterwards, here and at another replica: it is not given somebody else's run."""
    async with house() as now:
        planned(now)
        replicas = [now.replica(), now.replica()]
        first = asyncio.ensure_future(replicas[0].turns.start(ASK))
        await asyncio.sleep(wait_s)
        other = await replicas[at].turns.start(TurnAsk("turn-1", "something else", "asst_1"))
        assert isinstance(other, NotStarted)
        assert other.why == "mismatch"
        assert isinstance(await first, Started)
        assert made(now) == (1, 1)


@pytest.mark.parametrize("kind", ["create_thread", "create_message", "create_run"])
@pytest.mark.parametrize("fault", ["cut", "lost"])
@in_virtual_time
async def test_creation_whose_answer_is_lost_is_looked_for(kind: str, fault: str) -> None:
    """Applied or not: one message and one run, and the user is told of them."""
    async with house() as now:
        replica = planned(now).replica()
        now.api.faults[kind] = [fault]
        assert isinstance(await replica.turns.start(ASK), Started)
        assert made(now) == (1, 1)


@pytest.mark.parametrize("kind", ["create_thread", "create_message", "create_run", "find"])
@in_virtual_time
async def test_api_that_is_away_is_told_of_and_the_turn_can_be_asked_for_again(kind: str) -> None:
    """Nothing is made twice by the second asking, wherever the first one stopped."""
    async with house() as now:
        replica = planned(now).replica()
        now.api.faults[kind] = ["away"]
        if kind == "find":
            now.api.faults["create_run"] = ["cut"]
        first = await replica.turns.start(ASK)
        assert isinstance(first, NotStarted)
        assert first.why == "away"
        assert isinstance(await replica.turns.start(ASK), Started)
        assert made(now) == (1, 1)


@in_virtual_time
async def test_turn_that_failed_and_is_asked_for_at_two_replicas_is_taken_up_by_one() -> None:
    """Nobody owns it, both find it, and one message and one run are made."""
    async with house() as now:
        replicas = [planned(now).replica(), now.replica()]
        now.api.faults["create_message"] = ["away"]
        assert isinstance(await replicas[0].turns.start(ASK), NotStarted)
        await asyncio.gather(*(replica.turns.start(ASK) for replica in replicas))
        answers = [await replica.turns.start(ASK) for replica in replicas]
        assert all(isinstance(one, Started) for one in answers)
        assert made(now) == (1, 1)


@in_virtual_time
async def test_thread_with_an_active_run_is_busy_until_that_has_ended() -> None:
    """The second turn of a thread is told so, and starts when it is asked for again."""
    async with house() as now:
        replica = planned(now).replica()
        first = await replica.turns.start(ASK)
        assert isinstance(first, Started)
        second = TurnAsk("turn-2", "plan", "asst_1", first.thread_id)
        busy = await replica.turns.start(second)
        assert isinstance(busy, NotStarted)
        assert (busy.why, busy.status) == ("busy", 400)
        await now.ended(first.run_id)
        assert isinstance(await replica.turns.start(second), Started)
        assert made(now) == (2, 2)


@in_virtual_time
async def test_thread_that_is_not_there_is_refused() -> None:
    """The API knows no such thread: 404, and nothing was made."""
    async with house() as now:
        answer = await now.replica().turns.start(TurnAsk("turn-1", "plan", "asst_1", "thread_x"))
        assert isinstance(answer, NotStarted)
        assert (answer.why, answer.status) == ("refused", 404)


@pytest.mark.fault(64)
def test_death_at_any_step_leaves_a_turn_that_others_finish() -> None:
    """For every n: the replica dies at its n-th touch, and nobody asks again; whatever was written down is finished by
    another one, and what was not never happened."""

    async def tried(steps: int) -> bool:
        async with house() as now:
            mortal = planned(now).replica("mortal", steps=steps)
            first = asyncio.ensure_future(mortal.turns.start(ASK))
            await asyncio.wait([first], timeout=2)
            now.replica("heir")
            await asyncio.sleep(40)
            assert made(now) in {(0, 0), (1, 1)}
            if made(now) == (1, 1):
                (run_id,) = now.life.runs
                assert (await now.ended(run_id)).status == "completed"
                assert executed(now) == ["create_ticket"]
            first.cancel()
            return mortal.lifetime.over.is_set()

    deaths = 0
    while deaths < 60 and told(tried(deaths)):
        deaths += 1
    assert deaths > 20


@pytest.mark.fault(75)
@pytest.mark.parametrize("kind", ["create_thread", "create_message", "find"])
@in_virtual_time
async def test_creation_that_outlasts_the_visibility_makes_nothing_twice(kind: str) -> None:
    """A call takes 20 s, and another replica takes the turn over; the first makes nothing after that. (That call itself
    cannot be taken back: adapters give up long before.)"""
    async with house() as now:
        slow = planned(now).replica("slow")
        now.api.faults[kind] = ["slow"]
        if kind == "find":
            now.api.faults["create_message"] = ["lost"]
        first = asyncio.ensure_future(slow.turns.start(ASK))
        await asyncio.sleep(1)
        slow.tasks[0].cancel()
        heir = now.replica("heir")
        await asyncio.sleep(40)
        assert first.done()
        answer = await heir.turns.start(ASK)
        assert isinstance(answer, Started)
        assert made(now)[1] == 1
        if kind != "create_message":
            assert made(now) == (1, 1)


@in_virtual_time
async def test_turn_that_lapses_under_its_own_replica_is_worked_at_once() -> None:
    """The place falls due here while its turn is still under way here: that one goes on alone, and whoever asks waits
    for it."""
    async with house() as now:
        replica = planned(now).replica()
        now.api.faults["create_message"] = ["slow"]
        first = asyncio.ensure_future(replica.turns.start(ASK))
        await asyncio.sleep(17)
        answers = await asyncio.gather(first, replica.turns.start(ASK))
        assert all(isinstance(one, Started) for one in answers)
        assert made(now) == (1, 1)


@in_virtual_time
async def test_turn_that_is_resumed_is_joined_by_who_asks_for_it() -> None:
    """Its first replica died; another one is at it, and a client asks there: one message, one run."""
    async with house() as now:
        mortal = planned(now).replica("mortal", steps=5)
        first = asyncio.ensure_future(mortal.turns.start(ASK))
        heir = now.replica("heir")

        async def at_it() -> bool:
            return bool(heir.turns._under_way)

        await looked_for(at_it, 0.001)
        answer = await heir.turns.start(ASK)
        assert isinstance(answer, Started)
        assert not answer.anew
        assert made(now) == (1, 1)
        first.cancel()


@pytest.mark.parametrize("fault", ["cut", "refused"])
@in_virtual_time
async def test_run_that_was_made_is_kept_though_the_store_falters(fault: str) -> None:
    """The write that tells of turn and run is answered by nobody, applied or not: it is sent again, and the run is kept
    here at once."""
    async with house() as now:
        replica = planned(now).replica()
        replica.weather.next["swap"] = ["", "", fault]
        began = moment()
        answer = await replica.turns.start(ASK)
        assert isinstance(answer, Started)
        assert (await now.ended(answer.run_id)).status == "completed"
        assert moment() - began < 3
