"""What callers meet at the guard: patience, bounds, and the difference between joining, being held and coming later."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from ledger.records import Completed
from policies.model import Limits, Timeouts
from proxy import waiting
from proxy.answer import Answer
from proxy.guard import Look
from tests.proxy.rows import EXECUTED, IN_FLIGHT, JOINED, OVERLOADED, REPLAYED, UNKNOWN
from tests.proxy.scripted import Answers, Cuts, Hangs, Refuses
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import POLICY, arrival, field, outcome, told, world

# -- without a task --------------------------------------------------------------------------------------------------


def given_to_nobody(look: Look) -> None:
    """Fail: what was not begun is not told of."""
    raise AssertionError(look)


@in_virtual_time
async def test_caller_of_an_ordinary_call_has_no_task() -> None:
    """Beside the call's own: it is answered when that has ended."""
    async with world() as story:
        given: list[Look] = []
        before = len(asyncio.all_tasks())
        assert story.a.guard.begin(arrival(), given.append)
        assert len(asyncio.all_tasks()) == before + 1
        await until(1)
        (look,) = given
        answer = look()
        assert isinstance(answer, Answer)
        assert told(answer) == EXECUTED
        assert story.tool.executions.total() == 1


@in_virtual_time
async def test_call_that_somebody_is_at_or_that_may_not_begin_is_not_begun() -> None:
    """Nor one whose caller may leave before its end: those wait each for their own reason."""
    async with world() as story:
        begin, nobody = story.a.guard.begin, given_to_nobody
        assert not begin(arrival(patience_s=3), nobody)
        assert not begin(replace(arrival(), deferrable=True), nobody)
        story.tool.usual = Answers(after_s=2)
        first = story.a.ask()
        await until(1)
        assert not begin(arrival(), nobody)
        await first
        assert not begin(arrival(), nobody)
        full = replace(POLICY, limits=Limits(in_flight=0))
        assert not begin(arrival("call_2", policy=full), nobody)
        story.a.works.stopping = True
        assert not begin(arrival("call_2"), nobody)
        assert story.tool.executions.total() == 1


@in_virtual_time
async def test_begun_call_that_turns_out_to_be_anothers_is_joined_with_the_patience_it_came_with() -> None:
    """The ledger says so after a while; what its caller waits for is a matter of its own task from there on."""
    async with world() as story:
        story.tool.usual = Answers(after_s=40)
        first = story.b.ask(arrival(policy=replace(POLICY, timeouts=Timeouts(upstream_ms=90_000, hold_ms=30_000))))
        await until(3)
        answer = await story.a.answer(arrival())
        assert told(answer) == IN_FLIGHT
        assert 33 <= now() < 33.05
        await first
        assert story.tool.executions.total() == 1


# -- patience --------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_first_caller_leaves_with_its_patience_and_its_call_goes_on() -> None:
    """Its request is with the tool, so it is not told `refused`: in flight, outcome unknown, ask again."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        answer = await story.a.answer(arrival(patience_s=2))
        assert told(answer) == (409, "in-flight", "unknown")
        assert field(answer, "Retry-After") is not None
        assert field(answer, "x-should-retry") is None
        assert 2 <= now() < 2.05
        assert told(await story.b.answer(arrival(patience_s=10)))[2] == "joined"
        record = await story.record()
        assert isinstance(record, Completed)
        assert record.late
        assert story.a.count("holdfast_caller_gone_total", tool="create_ticket") == 1
        assert story.a.count("holdfast_duplicates_prevented_total", tool="create_ticket", how="in-flight") == 0


@pytest.mark.parametrize("where", ["a", "b"])
@in_virtual_time
async def test_patience_counts_from_the_arrival_however_often_it_looks(where: str) -> None:
    """What it waits for changes hands again and again; its time is over when it is over (I4)."""
    async with world() as story:
        story.tool.usual = Answers(429, after_s=3, pieces=(b"too large to share",))
        first = story.a.ask()
        await until(0.5)
        process = {"a": story.a, "b": story.b}[where]
        waiting = [process.ask(arrival(patience_s=4)) for _ in range(3)]
        for task in waiting:
            answer = await task
            assert told(answer)[:2] in {(409, "in-flight"), (429, "")}
            assert now() <= 4.6
        await first


@in_virtual_time
async def test_hold_counts_from_the_arrival_as_well() -> None:
    """A policy's hold is the longest that a duplicate waits, whatever happens meanwhile."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=20_000, hold_ms=5_000))
    async with world() as story:
        story.tool.usual = Answers(429, after_s=4, pieces=(b"x",))
        first = story.a.ask(arrival(policy=policy))
        await until(1)
        held = 0

        async def wait() -> None:
            nonlocal held
            answer = await story.b.answer(arrival(policy=policy))
            if told(answer) == IN_FLIGHT:
                held += 1
                assert 6 <= now() <= 6.1

        await asyncio.gather(first, *[wait() for _ in range(3)])
        assert held == 2


@in_virtual_time
async def test_impatient_caller_is_told_what_is_known_all_the_same() -> None:
    """`wait=0` asks what there is: a result that only the store knows of is an answer."""
    async with world() as story:
        await story.a.answer()
        assert told(await story.b.answer(arrival(patience_s=0))) == REPLAYED


@in_virtual_time
async def test_impatient_caller_of_something_new_does_not_wait_for_it() -> None:
    """`wait=0` starts the call and comes back at once; the next one finds it."""
    async with world() as story:
        story.tool.will(Answers(after_s=3))
        assert told(await story.a.answer(arrival(patience_s=0))) == (409, "in-flight", "unknown")
        assert now() < 0.2
        assert told(await story.b.answer()) == JOINED


@in_virtual_time
async def test_store_that_is_slow_does_not_stretch_an_impatient_callers_time() -> None:
    """What is known is worth a tenth of a second, not the store's whole deadline."""
    async with world() as story:
        story.a.view.pause_s = 0.9
        first, beside = story.a.ask(arrival(patience_s=0)), story.a.ask(arrival(patience_s=0))
        assert told(await first) == (409, "in-flight", "unknown")
        assert told(await beside) == IN_FLIGHT
        assert now() < 0.2


# -- joining and coming later ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_arrives_together_after_the_end_has_not_joined() -> None:
    """Two at once at a process that knows nothing: what the store says is a replay to both, or a 409 to both."""
    async with world() as story:
        story.tool.will(Answers(), Cuts())
        await story.a.answer(arrival("call_1"))
        await story.a.answer(arrival("call_2"))
        replayed = [story.b.ask(arrival("call_1")) for _ in range(3)]
        refused = [story.b.ask(arrival("call_2")) for _ in range(3)]
        assert [told(await task) for task in replayed] == [REPLAYED] * 3
        assert [told(await task) for task in refused] == [UNKNOWN] * 3
        assert {field(await task, "Idempotent-Replayed") for task in replayed} == {"true"}


@in_virtual_time
async def test_who_arrives_together_at_a_listening_process_is_held() -> None:
    """Two at once while the late reply may still come: both wait for it."""
    async with world() as story:
        story.tool.will(Answers(after_s=20))
        await story.a.answer()
        held = [story.b.ask(), story.b.ask(), story.a.ask(), story.a.ask()]
        assert [told(await task) for task in held] == [REPLAYED] * 4
        assert now() > 20


@pytest.mark.fault(2)
@in_virtual_time
async def test_two_thousand_at_once_are_one_forward() -> None:
    """As many as the policy lets wait get the same bytes, the rest a well-formed refusal; one watch of the store."""
    policy = replace(POLICY, limits=Limits(waiters_per_key=100))
    async with world() as story:
        asked = [process.ask(arrival(policy=policy)) for process in (story.a, story.b) for _ in range(1_000)]
        answers = [await task for task in asked]
        assert (story.tool.dialled, story.tool.executed) == (1, 1)
        assert {answer.body for answer in answers if answer.status == 200} == {answers[0].body}
        outcomes = [told(answer) for answer in answers]
        assert outcomes.count(EXECUTED) == 1
        assert outcomes.count(JOINED) == 200
        assert outcomes.count(OVERLOADED) == 2_000 - 201
        assert story.b.gate.steps.count("watch") <= 3
        assert story.b.works.wakeups.waiting == {}


# -- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["a", "b"])
@in_virtual_time
async def test_as_many_wait_for_a_key_as_the_policy_says(where: str) -> None:
    """Exactly, at the owner's process and elsewhere; one more is told to come again."""
    policy = replace(POLICY, limits=Limits(waiters_per_key=3))
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(arrival(policy=policy))
        await until(1)
        process = {"a": story.a, "b": story.b}[where]
        joiners = [process.ask(arrival(policy=policy)) for _ in range(5)]
        outcomes = [told(await task) for task in joiners]
        assert sorted(outcomes) == [JOINED] * 3 + [OVERLOADED] * 2
        assert told(await first) == EXECUTED


@in_virtual_time
async def test_joiner_that_leaves_makes_room_for_another() -> None:
    """The bound is on those who wait now."""
    policy = replace(POLICY, limits=Limits(waiters_per_key=1))
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        story.a.ask(arrival(policy=policy))
        await until(1)
        assert told(await story.a.answer(arrival(policy=policy, patience_s=1))) == IN_FLIGHT
        assert told(await story.a.answer(arrival(policy=policy))) == JOINED


@in_virtual_time
async def test_process_holds_so_many_callers_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all keys together there is a bound as well."""
    monkeypatch.setattr(waiting, "WAITERS_MAX", 2)
    async with world() as story:
        story.tool.usual = Answers(after_s=5)
        firsts = [story.a.ask(arrival(call)) for call in ("call_1", "call_2", "call_3")]
        await until(1)
        joiners = [story.a.ask(arrival(call)) for call in ("call_1", "call_2", "call_3")]
        assert [told(await task) for task in joiners] == [JOINED, JOINED, OVERLOADED]
        assert [told(await task) for task in firsts] == [EXECUTED] * 3


@in_virtual_time
async def test_tool_has_so_many_calls_in_flight_here_and_no_more() -> None:
    """One more is refused before anything is claimed, and may come again; duplicates of what is in flight still
    join."""
    policy = replace(POLICY, limits=Limits(in_flight=2))
    async with world() as story:
        story.tool.usual = Answers(after_s=2)
        asked = [story.a.ask(arrival(call, policy=policy)) for call in ("call_1", "call_2", "call_3")]
        await until(1)
        joiner = story.a.ask(arrival("call_1", policy=policy))
        assert [told(await task) for task in asked] == [EXECUTED, EXECUTED, OVERLOADED]
        assert told(await joiner) == JOINED
        assert await story.record(arrival("call_3", policy=policy)) is None
        assert told(await story.a.answer(arrival("call_3", policy=policy))) == EXECUTED


@in_virtual_time
async def test_key_that_keeps_changing_hands_is_told_as_in_flight() -> None:
    """A store that answers with nothing but surprises does not keep a caller for ever."""
    async with world() as story:
        asked = story.a.ask()
        for _ in range(400):
            await asyncio.sleep(0.0004)
            await story.forget()
        answer = await asked
        assert told(answer)[0] in {200, 409, 503}


# -- what is said ----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_every_keyed_answer_names_the_operation_and_its_outcome() -> None:
    """Whatever the answer is: the same operation in the header, in the problem and in the log."""
    async with world() as story:
        story.tool.will(Answers(), Cuts(), Hangs())
        answers = [await story.a.answer(arrival(call)) for call in ("call_1", "call_1", "call_2", "call_2", "call_3")]
        answers.append(await story.a.answer(arrival("call_1", body=b"[]")))
        for answer in answers:
            operation = field(answer, "Holdfast-Operation")
            assert operation is not None
            assert outcome(answer) is not None
            if answer.problem:
                assert json.loads(answer.body)["operation"] == operation
        assert story.a.events("key.reused")[0]["operation"] == field(answers[-1], "Holdfast-Operation")


@in_virtual_time
async def test_reused_key_is_logged_by_hashes_alone() -> None:
    """Enough to see that the requests differ, nothing of what was in them."""
    async with world() as story:
        await story.a.answer()
        await story.a.answer(arrival(body=b'{"secret": "hunter2"}'))
        (line,) = story.a.events("key.reused")
        assert line["payload_hash"] != line["first_payload_hash"]
        assert "hunter2" not in json.dumps(line)


@in_virtual_time
async def test_duplicates_that_were_not_forwarded_are_counted_by_how() -> None:
    """What the guard is worth can be read off a metric."""
    async with world() as story:
        story.tool.will(Answers(after_s=1), Cuts())
        first, joiner = story.a.ask(), story.a.ask()
        await first
        await joiner
        await story.a.answer()
        await story.a.answer(arrival("call_2"))
        await story.a.answer(arrival("call_2"))
        await story.a.answer(arrival("call_2", body=b"[]"))
        counted = {
            how: story.a.count("holdfast_duplicates_prevented_total", tool="create_ticket", how=how)
            for how in ("joined", "replayed", "unknown", "key-reused")
        }
        assert counted == {"joined": 1, "replayed": 1, "unknown": 1, "key-reused": 1}


@pytest.mark.fault(34)
@in_virtual_time
async def test_unprotected_call_that_was_not_sent_is_not_told_as_never_executed() -> None:
    """The tool cannot be reached now; but the same key may have run before, and the store that would know is away."""
    policy = replace(POLICY, store_down="forward")
    async with world() as story:
        story.tool.will(Answers(), Refuses())
        await story.b.answer(arrival(policy=policy))
        story.a.gate.outage = True
        answer = await story.a.answer(arrival(policy=policy))
        assert told(answer) == (503, "store-unavailable", "refused")
        assert not json.loads(answer.body)["safe_new_key"]
        story.a.gate.outage = False
        await until(10)
        assert told(await story.a.answer(arrival(policy=policy))) == REPLAYED


# -- what is kept near -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_repetition_of_what_is_kept_near_is_answered_at_once() -> None:
    """And counted like every other; what takes more than looking is left to the call: a call under way, another
    fingerprint, a process that never saw the result."""
    async with world() as story:
        asked = arrival()
        operation, mark = asked.ref.operation, asked.fingerprint
        story.tool.will(Answers(after_s=1))
        first = story.a.ask(asked)
        await until(0.5)
        assert story.a.guard.at_once("create_ticket", operation, mark) is None
        await first
        found = story.a.guard.at_once("create_ticket", operation, mark)
        assert found is not None
        assert told(found) == told(await story.a.answer(asked)) == REPLAYED
        assert found.body == (await first).body
        assert story.a.count("holdfast_duplicates_prevented_total", tool="create_ticket", how="replayed") == 2
        assert story.a.guard.at_once("create_ticket", operation, "another") is None
        assert story.b.guard.at_once("create_ticket", operation, mark) is None
