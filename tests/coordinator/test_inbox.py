"""Results that are posted back: accepted at once, taken into their runs once, or kept as dead letters with a reason."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from coordinator.correlation import Unmatched
from coordinator.inbox import DELIVERIES_MAX, IDLE_MS, Entry
from coordinator.means import Limits
from coordinator.store import Letter
from tests.coordinator.house import House, Replica, house, looked_for
from tests.coordinator.telling import (
    MAIL,
    REFUND,
    TICKET,
    asked_of_proxy,
    asks,
    lines,
    outcomes,
    posted,
    renewed,
    started,
    written,
)
from tests.proxy.virtual import ended, in_virtual_time
from tests.proxy.virtual import now as moment
from tests.proxy.virtual import run as told

ELSEWHERE = frozenset({"create_ticket"})
EVERYTHING = frozenset({"*"})


def gateway(now: House, owner: str = "", *, steps: int | None = None, complete: bool = False) -> Replica:
    """Start a replica whose tickets a gateway makes."""
    replica = now.replica(owner, ELSEWHERE, steps)
    replica.inbox._complete = complete
    return replica


def _encoded(entry: Entry) -> bytes:
    return msgspec.json.encode(entry)


async def letters(now: House) -> list[Letter]:
    """Return the dead letters."""
    return (await now.store.letters("", 100))[0]


async def emptied(now: House) -> None:
    """Return once the queue is empty."""

    async def is_empty() -> bool:
        return not await now.store.depth()

    await ended(looked_for(is_empty), 120)


@in_virtual_time
async def test_result_that_is_posted_back_is_submitted() -> None:
    """The proxy is not asked for a tool that a gateway executes; its result goes where the tool's own would."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET, MAIL])
        step = await asks(now, run_id)
        await asyncio.sleep(1)
        assert await replica.inbox.accept(posted(now, run_id, step.calls[0].id, '{"id":1}')) == "accepted"
        record = await now.ended(run_id)
        assert record.status == "completed"
        assert step.calls[0].output == '{"id":1}'
        assert [ask.tool for ask in now.tools.asked] == ["send_email"]


@in_virtual_time
async def test_result_that_is_posted_before_its_call_was_seen_is_accepted() -> None:
    """The gateway is faster than our polling: the API is asked, the result is kept, and the call is not executed."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        assert not (await now.record(run_id)).steps
        assert await replica.inbox.accept(posted(now, run_id, step.calls[0].id)) == "accepted"
        assert (await now.ended(run_id)).status == "completed"
        assert step.calls[0].output == '"done"'
        assert now.tools.asked == []


@pytest.mark.fault(69)
@in_virtual_time
async def test_same_result_again_is_a_duplicate_and_another_one_a_conflict() -> None:
    """Before it was submitted and after; what is accepted twice before anybody took it in is a dead letter if it
    differs, and nothing if it does not."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        call_id = (await asks(now, run_id)).calls[0].id
        await asyncio.sleep(1)
        first = [posted(now, run_id, call_id, output) for output in ('"a"', '"a"', '"b"')]
        assert [await replica.inbox.accept(entry) for entry in first] == ["accepted"] * 3
        await emptied(now)
        assert [letter.reason for letter in await letters(now)] == ["conflict"]
        for output, answer in (('"a"', "duplicate"), ('"b"', "conflict")):
            assert await replica.inbox.accept(posted(now, run_id, call_id, output)) == answer
        await now.ended(run_id)
        for output, answer in (('"a"', "duplicate"), ('"b"', "conflict")):
            assert await replica.inbox.accept(posted(now, run_id, call_id, output)) == answer
        assert now.api.accepted[0][1] == ('"a"',)


@pytest.mark.fault(67)
@pytest.mark.parametrize("same_step", [True, False])
@in_virtual_time
async def test_result_under_the_id_that_a_call_had_first_belongs_to_the_call(same_step: bool) -> None:
    """The model asked again under another id while the gateway was at it: its result is submitted under the new one."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        old = (await asks(now, run_id)).calls[0].id
        await written(now, run_id, "asked")
        (new,) = renewed(now, run_id, same_step=same_step)
        await written(now, run_id, "asked-again")
        assert await replica.inbox.accept(posted(now, run_id, old)) == "accepted"
        assert (await now.ended(run_id)).status == "completed"
        assert [(call.id, call.output) for call in now.life.runs[run_id].steps[0].calls] == [(new, '"done"')]


@pytest.mark.fault(68, 74)
@in_virtual_time
async def test_result_for_an_older_step_is_written_down_as_late() -> None:
    """The step went on without it, with an error: the truth is recorded, and the newest step is not given it."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET], [REFUND])
        step = await asks(now, run_id)
        now.tools.takes_s["refund_payment"] = 5.0
        second = await asks(now, run_id, 2)
        await written(now, run_id, "asked", 2)
        assert await replica.inbox.accept(posted(now, run_id, step.calls[0].id)) == "accepted"
        await emptied(now)
        record = await now.ended(run_id)
        assert lines(record).count("late") == 1
        assert [outcomes(now, number) for number in (0, 1)] == [["not-posted"], ["result"]]
        assert second.calls[0].output != '"done"'
        assert await letters(now) == []


@pytest.mark.fault(69)
@in_virtual_time
async def test_result_that_names_nothing_that_is_known_is_refused() -> None:
    """Unknown run, thread, step and call: each is told apart, nothing is queued, and nothing is guessed."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        call_id = step.calls[0].id
        await written(now, run_id, "asked")
        thread_id = now.life.runs[run_id].thread_id
        assert await replica.inbox.accept(Entry("assistants", thread_id, "run_x", call_id, '"a"', 0)) == "unknown-run"
        for thread, at, call, why in (
            ("thread_x", "", call_id, "thread-mismatch"),
            (thread_id, "step_x", call_id, "step-mismatch"),
            (thread_id, "", "call_x", "unknown-call"),
            (thread_id, "", "", "ambiguous"),
        ):
            answer = await replica.inbox.accept(Entry("assistants", thread, run_id, call, '"a"', 0, at))
            assert isinstance(answer, Unmatched)
            assert answer.why == why
        assert await now.store.depth() == 0
        assert await replica.inbox.accept(posted(now, run_id, call_id, step_id=step.id)) == "accepted"


@pytest.mark.parametrize(("calls", "answer"), [([TICKET, MAIL], "accepted"), ([TICKET, TICKET], "ambiguous")])
@in_virtual_time
async def test_result_without_a_call_belongs_to_the_only_one_that_waits(calls: list[object], answer: str) -> None:
    """Where the operator allows it, and exactly one call has no result; two that wait are never guessed between."""
    async with house() as now:
        replica = gateway(now, complete=True)
        run_id = await started(now, calls)  # type: ignore[arg-type]
        await asks(now, run_id)
        await asyncio.sleep(2)
        got = await replica.inbox.accept(posted(now, run_id, ""))
        assert (got.why if isinstance(got, Unmatched) else got) == answer
        if answer == "accepted":
            assert (await now.ended(run_id)).status == "completed"
            assert now.life.runs[run_id].steps[0].calls[0].output == '"done"'


@pytest.mark.fault(72)
@in_virtual_time
async def test_poison_message_becomes_a_dead_letter_and_the_rest_flow() -> None:
    """An entry that is no result, and one that makes its consumer fail each time: the results behind them are taken at
    once, and both are kept, with their reasons."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        call_id = (await asks(now, run_id)).calls[0].id
        await written(now, run_id, "asked")
        taken = replica.inbox._taken

        async def fails(entry: Entry, times: int) -> object:
            if entry.tool_call_id == "bad":
                raise ZeroDivisionError("whatever it was")
            return await taken(entry, times)

        replica.inbox._taken = fails  # type: ignore[method-assign,assignment]
        await now.store.post("e1", b"no json", 100)
        await now.store.post("e2", _encoded(posted(now, run_id, "bad")), 100)
        began = moment()
        assert await replica.inbox.accept(posted(now, run_id, call_id)) == "accepted"
        assert (await now.ended(run_id)).status == "completed"
        assert moment() - began < 2
        await emptied(now)
        assert [(letter.id, letter.reason) for letter in await letters(now)] == [("e1", "unreadable"), ("e2", "poison")]
        assert moment() - began > IDLE_MS / 1_000 * (DELIVERIES_MAX - 1)


@in_virtual_time
async def test_dead_letter_that_is_requeued_is_taken_if_it_can_be() -> None:
    """A result whose run was not tracked yet, of a queue that was filled by hand: once it is, the letter is good."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        call_id = (await asks(now, run_id)).calls[0].id
        await written(now, run_id, "asked")
        await replica.inbox.accept(posted(now, run_id, call_id, '"a"'))
        await replica.inbox.accept(posted(now, run_id, call_id, '"b"'))
        await emptied(now)
        (letter,) = await letters(now)
        assert await now.store.requeue(letter.id)
        await emptied(now)
        assert [(one.id, one.reason) for one in await letters(now)] == [(letter.id, "conflict")]
        assert (await now.ended(run_id)).status == "completed"


@pytest.mark.fault(71)
@in_virtual_time
async def test_full_queue_says_so_and_takes_more_when_there_is_room() -> None:
    """What was accepted is there; what was not was told so, and is accepted when the consumer has caught up."""
    async with house(Limits(queue_max=2)) as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET, TICKET, TICKET])
        calls = [call.id for call in (await asks(now, run_id)).calls]
        await written(now, run_id, "asked")
        worker = replica.tasks[2]
        worker.cancel()
        answers = [await replica.inbox.accept(posted(now, run_id, call_id, f'"{call_id}"')) for call_id in calls]
        assert answers == ["accepted", "accepted", "full"]
        replica.tasks.append(asyncio.ensure_future(replica.inbox.work()))
        await emptied(now)
        assert await replica.inbox.accept(posted(now, run_id, calls[2], f'"{calls[2]}"')) == "accepted"
        assert (await now.ended(run_id)).status == "completed"
        assert now.api.accepted[0][1] == tuple(f'"{call_id}"' for call_id in calls)


@in_virtual_time
async def test_accepted_result_outlasts_an_api_that_is_away() -> None:
    """The API showed the call when the result was accepted, and is away when it is to be taken in: it waits."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        entry = posted(now, run_id, step.calls[0].id)
        now.api.faults["look"] = ["", *["away"] * 3]
        assert await replica.inbox.accept(entry) == "accepted"
        now.api.down = True
        await asyncio.sleep(25)
        now.api.down = False
        assert (await now.ended(run_id)).status == "completed"
        assert await letters(now) == []


@in_virtual_time
async def test_result_that_cannot_be_looked_up_is_not_accepted() -> None:
    """The record knows no such call and the API is away: nobody promises anything."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        now.api.down = True
        answer = await replica.inbox.accept(posted(now, run_id, step.calls[0].id))
        assert isinstance(answer, Unmatched)
        assert answer.why == "unknown-call"
        assert await now.store.depth() == 0


@in_virtual_time
async def test_delivered_results_outlast_a_store_that_is_away() -> None:
    """The store goes away between delivery and record: soon after it is back, all of the batch is in."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [TICKET, TICKET, TICKET])
        calls = [call.id for call in (await asks(now, run_id)).calls]
        await written(now, run_id, "asked")
        await asyncio.sleep(0.3)
        for call_id in calls:
            await now.store.post(f"e-{call_id}", _encoded(posted(now, run_id, call_id)), 100)
        replica.weather.next = {"swap": ["", "refused", "refused"]}
        began = moment()
        assert (await now.ended(run_id)).status == "completed"
        assert moment() - began < 4
        assert await now.store.depth() == 0


@in_virtual_time
async def test_posted_result_is_found_though_nobody_tells_of_it() -> None:
    """The nudge gets lost on its way between two replicas: a run that waits for a gateway looks for itself."""
    async with house() as now:
        keeper = gateway(now, "keeper")
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        await asyncio.sleep(1)
        keeper.deaf = True
        keeper.tasks[2].cancel()
        other = gateway(now, "other")
        assert await other.inbox.accept(posted(now, run_id, step.calls[0].id)) == "accepted"
        began = moment()
        assert (await now.ended(run_id)).status == "completed"
        assert moment() - began < 5


async def story(now: House, steps: int) -> bool:
    """A gateway posts two results at a replica that has so many steps to live, again and again until they are accepted;
    say whether it died."""
    mortal = gateway(now, "mortal")
    run_id = await started(now, [TICKET, TICKET], [MAIL])
    calls = [call.id for call in (await asks(now, run_id)).calls]
    await written(now, run_id, "asked")
    mortal.lifetime.left = mortal.lifetime.steps + steps
    gateways = gateway(now, "heir")
    for at, call_id in enumerate(calls):
        entry, told = posted(now, run_id, call_id, f'"{at}"'), None
        try:
            async with asyncio.timeout(2):
                told = await mortal.inbox.accept(entry)
        except TimeoutError:
            told = await gateways.inbox.accept(entry)
        assert told in {"accepted", "duplicate"}
    assert (await now.ended(run_id, 100, 0.1)).status == "completed"
    assert now.api.accepted[0][1] == ('"0"', '"1"')
    assert len(now.api.accepted) == 2
    assert await letters(now) == []
    await emptied(now)
    return mortal.lifetime.over.is_set()


@pytest.mark.fault(64)
def test_consumer_that_dies_at_any_step_loses_no_result() -> None:
    """For every n: it dies at its n-th touch, between result and queue, delivery and record, record and done."""

    async def tried(steps: int) -> bool:
        async with house() as now:
            return await story(now, steps)

    deaths = 0
    while deaths < 100 and told(tried(deaths)):
        deaths += 1
    assert deaths > 20


@in_virtual_time
async def test_result_for_a_call_that_the_proxy_has_answered_is_a_conflict() -> None:
    """A tool that the proxy executes, and a gateway that thinks it does: the first word stands."""
    async with house() as now:
        replica = gateway(now)
        run_id = await started(now, [MAIL])
        await asked_of_proxy(now, 1)
        await written(now, run_id, "result")
        call_id = now.life.runs[run_id].steps[0].calls[0].id
        assert await replica.inbox.accept(posted(now, run_id, call_id)) == "conflict"
        assert (await now.ended(run_id)).status == "completed"


@pytest.mark.fault(56)
@in_virtual_time
async def test_result_that_was_given_to_a_replica_that_stops_is_taken_in_before_it_does() -> None:
    """The queue's answer comes after the stop has begun: nobody else would be given that result for ten seconds."""
    async with house() as now:
        first = gateway(now, "first")
        run_id = await started(now, [TICKET])
        step = await asks(now, run_id)
        await asyncio.sleep(1)
        first.weather.next["deliveries"] = ["slow"]
        assert await first.inbox.accept(posted(now, run_id, step.calls[0].id)) == "accepted"
        await asyncio.sleep(0.1)
        first.inbox.stop()
        await first.watching.stop(12.0)
        await asyncio.wait_for(first.tasks[2], 12)
        assert await now.store.depth() == 0
        gateway(now, "second")
        assert (await now.ended(run_id, IDLE_MS / 1_000 / 2)).status == "completed"
        assert step.calls[0].output == '"done"'
