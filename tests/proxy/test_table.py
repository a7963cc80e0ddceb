"""The normative table of design 2.2, row by row: what the first caller, joiners and later arrivals get, on both
replicas.

In each story the first caller and one joiner are at process a, another joiner is at process b, and two later arrivals
come after the forward has ended, one at each. Times are virtual.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.records import Completed, Unknown
from policies.model import ResultRules, Retry, Timeouts
from tests.proxy.rows import EXECUTED, JOINED, LOST, NOT_SENT, REPLAYED, TIMED_OUT, UNKNOWN, row
from tests.proxy.scripted import Answers, Cuts, Hangs, Refuses, Step
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import POLICY, arrival, field, outcome, told, world

# -- replied ---------------------------------------------------------------------------------------------------------


@pytest.mark.fault(1)
@in_virtual_time
async def test_final_reply_is_everybodys() -> None:
    """Completed: the first caller gets the tool's answer, joiners the same, later arrivals a replay; one forward."""
    async with world() as story:
        got = await row(story, Answers())
        assert told(got.first) == EXECUTED
        assert [told(got.beside), told(got.afar)] == [JOINED, JOINED]
        assert [told(answer) for answer in got.later] == [REPLAYED, REPLAYED]
        assert {answer.body for answer in (got.first, got.beside, got.afar, *got.later)} == {got.first.body}
        assert {field(answer, "Idempotent-Replayed") for answer in got.later} == {"true"}
        assert field(got.first, "Idempotent-Replayed") is None
        assert len({field(answer, "Holdfast-Operation") for answer in (got.first, got.beside, *got.later)}) == 1
        assert (story.tool.dialled, story.tool.executed) == (1, 1)
        assert isinstance(await story.record(), Completed)


@pytest.mark.fault(27)
@pytest.mark.parametrize("status", [201, 204, 303, 400, 404, 409, 422])
@in_virtual_time
async def test_other_final_statuses_settle_as_well(status: int) -> None:
    """A refusal that is the tool's last word is replayed like a success, redirects too."""
    async with world() as story:
        got = await row(story, Answers(status, body=b"" if status == 204 else b"{}"))
        assert told(got.first) == (status, "", "executed")
        assert [told(answer) for answer in got.later] == [(status, "", "replayed")] * 2
        assert story.tool.dialled == 1


@pytest.mark.fault(26)
@pytest.mark.parametrize("status", [401, 403, 407, 425, 429])
@in_virtual_time
async def test_not_final_reply_frees_the_key(status: int) -> None:
    """The tool refused to act: joiners get the same answer without a forward of their own, who comes later is
    forwarded."""
    async with world() as story:
        got = await row(story, Answers(status))
        same = (status, "", "not-executed")
        assert [told(got.first), told(got.beside), told(got.afar)] == [same] * 3
        assert got.beside.body == got.afar.body == got.first.body
        assert [told(answer) for answer in got.later] == [EXECUTED, REPLAYED]
        assert (story.tool.dialled, story.tool.executed) == (2, 1)


@pytest.mark.fault(26)
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
@in_virtual_time
async def test_reply_that_is_neither_leaves_unknown(status: int) -> None:
    """Something on the way may have sent it after the tool had acted: the answer is passed on, and nothing runs
    again."""
    async with world() as story:
        got = await row(story, Answers(status))
        same = (status, "", "unknown")
        assert [told(got.first), told(got.beside), told(got.afar)] == [same] * 3
        assert got.beside.body == got.afar.body == got.first.body
        assert [told(answer) for answer in got.later] == [UNKNOWN, UNKNOWN]
        assert story.tool.dialled == 1
        assert isinstance(await story.record(), Unknown)


@in_virtual_time
async def test_policy_says_what_a_status_means() -> None:
    """`final` and `notFinal` are the policy's word, `notFinal` first."""
    rules = ResultRules(final=frozenset({500, 409}), not_final=frozenset({409, 503}))
    for status, outcomes in ((500, ["executed", "replayed"]), (409, ["not-executed", "executed"])):
        async with world() as story:
            story.tool.will(Answers(status), Answers(500))
            asked = arrival(policy=replace(POLICY, result=rules))
            assert [outcome(await story.a.answer(asked)) for _ in range(2)] == outcomes


# -- not replied -----------------------------------------------------------------------------------------------------


@pytest.mark.fault(19)
@pytest.mark.parametrize(("timed_out", "status"), [(False, 502), (True, 504)])
@in_virtual_time
async def test_not_sent_frees_the_key(timed_out: bool, status: int) -> None:
    """Provably nothing ran: callers are told so, and a later arrival is forwarded."""
    async with world() as story:
        got = await row(story, Refuses(timed_out=timed_out, after_s=0.05))
        same = (status, "not-sent", "not-executed")
        assert [told(got.first), told(got.beside), told(got.afar)] == [same] * 3
        assert [told(answer) for answer in got.later] == [EXECUTED, REPLAYED]
        assert (story.tool.dialled, story.tool.executed) == (2, 1)


@pytest.mark.fault(19)
@in_virtual_time
async def test_not_sent_is_tried_again_as_often_as_the_policy_says() -> None:
    """Retries are the only second sends there are, and joiners see nothing of them."""
    policy = replace(POLICY, retry=Retry(attempts=3, backoff_base_ms=200))
    async with world() as story:
        story.tool.will(Refuses(), Refuses())
        got = await row(story, Answers(), policy)
        assert [told(got.first), told(got.beside), told(got.afar)] == [EXECUTED, JOINED, JOINED]
        assert (story.tool.dialled, story.tool.executed) == (3, 1)
        story.tool.will(*[Refuses(after_s=0)] * 3)
        start = now()
        assert told(await story.a.answer(arrival("call_2", policy=policy))) == NOT_SENT
        assert story.tool.dialled == 6
        assert now() - start < 0.15 + 0.3 + 0.05  # two pauses, and none after the last try


@pytest.mark.fault(20)
@pytest.mark.parametrize("acts", [False, True])
@in_virtual_time
async def test_lost_reply_leaves_unknown(acts: bool) -> None:
    """Closed or reset after the first byte: everybody is told that it may have run, and it never runs again."""
    async with world() as story:
        got = await row(story, Cuts(acts=acts))
        assert [told(got.first), told(got.beside), told(got.afar)] == [LOST] * 3
        assert [told(answer) for answer in got.later] == [UNKNOWN, UNKNOWN]
        assert (story.tool.dialled, story.tool.executed) == (1, int(acts))


# -- timed out -------------------------------------------------------------------------------------------------------


@pytest.mark.fault(22, 6)
@in_virtual_time
async def test_time_out_is_told_and_the_late_reply_completes() -> None:
    """At the time-out all who wait are told 504; who comes while the process listens is held, and gets the late
    reply."""
    async with world() as story:
        story.tool.will(Answers(after_s=25))
        first, beside, afar = story.a.ask(), story.a.ask(), story.b.ask()
        assert [told(await task) for task in (first, beside, afar)] == [TIMED_OUT] * 3
        assert 10 <= now() < 10.1
        record = await story.record()
        assert isinstance(record, Unknown)
        assert record.listening
        held_here, held_there = story.a.ask(), story.b.ask()
        await until(24.9)
        assert not held_here.done()
        assert not held_there.done()
        held = [await held_here, await held_there]
        assert 25 <= now() < 25.1
        later = [await story.a.answer(), await story.b.answer()]
        assert [told(answer) for answer in (*held, *later)] == [REPLAYED] * 4
        assert {field(answer, "Holdfast-Late") for answer in (*held, *later)} == {"true"}
        assert (story.tool.dialled, story.tool.executed) == (1, 1)


@pytest.mark.fault(22)
@pytest.mark.parametrize("end", [Answers(500, after_s=20), Cuts(after_s=20)])
@in_virtual_time
async def test_late_end_that_settles_nothing_leaves_unknown(end: Step) -> None:
    """Who was held while the process listened is told 409 when there is nothing more to hope for."""
    async with world() as story:
        story.tool.will(end)
        assert told(await story.a.answer()) == TIMED_OUT
        held = [story.a.ask(), story.b.ask()]
        assert [told(await task) for task in held] == [UNKNOWN, UNKNOWN]
        assert 20 <= now() < 20.1
        assert [told(await story.a.answer()), told(await story.b.answer())] == [UNKNOWN, UNKNOWN]
        assert now() < 20.2
        assert story.tool.dialled == 1


@in_virtual_time
async def test_late_refusal_frees_the_key_and_one_of_the_held_is_forwarded() -> None:
    """A 429 after the time-out proves that it did not run: exactly one of those who waited claims, the others join
    it."""
    async with world() as story:
        story.tool.will(Answers(429, after_s=20))
        assert told(await story.a.answer()) == TIMED_OUT
        held = [story.a.ask(), story.a.ask(), story.b.ask(), story.b.ask()]
        outcomes = [str(outcome(await task)) for task in held]
        assert sorted(outcomes) == ["executed", "joined", "joined", "joined"]
        assert (story.tool.dialled, story.tool.executed) == (2, 1)


@in_virtual_time
async def test_listening_ends_and_unknown_stays() -> None:
    """After `timeouts.late` the connection is dropped; who is held is told, and nobody is held any more."""
    async with world() as story:
        story.tool.will(Hangs())
        assert told(await story.b.answer()) == TIMED_OUT
        await until(69)
        held = [story.a.ask(), story.b.ask()]
        assert [told(await task) for task in held] == [UNKNOWN, UNKNOWN]
        assert 70 <= now() < 70.1
        assert [told(await story.a.answer()), told(await story.b.answer())] == [UNKNOWN, UNKNOWN]
        assert now() < 70.2


@in_virtual_time
async def test_who_is_held_on_an_unknown_leaves_with_its_patience() -> None:
    """Holding ends with the policy's `hold` or the caller's own patience, whichever is sooner: still unknown."""
    async with world() as story:
        story.tool.will(Hangs())
        await story.a.answer()
        impatient = story.b.ask(arrival(patience_s=5))
        patient = story.b.ask()
        assert told(await impatient) == UNKNOWN
        assert 15 <= now() < 15.1
        assert told(await patient) == UNKNOWN
        assert 40 <= now() < 40.1


# -- held ------------------------------------------------------------------------------------------------------------


@pytest.mark.fault(6)
@in_virtual_time
async def test_joiner_whose_patience_ends_may_come_again() -> None:
    """Still running is no failure: 409 `in-flight` with Retry-After, and the next attempt joins or replays."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=10_000, hold_ms=2_000, late_ms=0))
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(arrival(policy=policy))
        await until(1)
        joiners = [story.a.ask(arrival(policy=policy)), story.b.ask(arrival(policy=policy))]
        for joiner in joiners:
            answer = await joiner
            assert told(answer) == (409, "in-flight", "refused")
            assert field(answer, "Retry-After") == "1"
        assert 3 <= now() < 3.1
        await until(4)
        again = [story.a.ask(arrival(policy=policy)), story.b.ask(arrival(policy=policy))]
        assert told(await first) == EXECUTED
        assert [told(await task) for task in again] == [JOINED, JOINED]


# -- lapsed ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(55)
@in_virtual_time
async def test_dead_owners_call_is_unknown_when_its_lease_is_over() -> None:
    """A lapsed lease never means "run it again": joiners and later arrivals are told that it may have run."""
    async with world() as story:
        story.tool.will(Hangs())
        story.a.ask()
        await until(1)
        joiner = story.b.ask()
        story.a.die()
        assert told(await joiner) == LOST
        assert 10 <= now() <= 21
        assert told(await story.b.answer()) == UNKNOWN
        assert story.tool.dialled == 1
        record = await story.record()
        assert isinstance(record, Unknown)
        assert record.why == "lease-lapsed"


@pytest.mark.fault(55)
@in_virtual_time
async def test_lapsed_call_that_nobody_asks_for_is_found_by_a_sweep() -> None:
    """Nothing stays in flight longer than its lease and one sweep (I6)."""
    async with world() as story:
        story.tool.will(Hangs())
        story.a.ask()
        await until(1)
        story.a.die()
        await until(1 + 15 + 5.1)
        assert isinstance(await story.record(), Unknown)
        assert story.b.count("holdfast_lapsed_leases_total", tool="create_ticket") == 1


@pytest.mark.fault(57)
@in_virtual_time
async def test_truth_of_an_owner_that_stood_still_is_taken() -> None:
    """Its lease lapsed, all were told unknown; then its reply came in: completed, late, and replayed."""
    policy = replace(POLICY, timeouts=Timeouts(upstream_ms=60_000))
    async with world() as story:
        story.tool.will(Answers(after_s=40))
        first = story.a.ask(arrival(policy=policy))
        await until(1)
        story.a.stand_still()
        joiner = story.b.ask(arrival(policy=policy))
        assert told(await joiner) == LOST
        assert told(await story.b.answer(arrival(policy=policy))) == UNKNOWN
        assert now() < 25
        assert told(await first) == EXECUTED
        later = [await story.a.answer(), await story.b.answer()]
        assert [told(answer) for answer in later] == [REPLAYED, REPLAYED]
        record = await story.record()
        assert isinstance(record, Completed)
        assert record.late
        assert [event.what for event in record.history] == ["claimed", "lapsed", "replied"]
        assert (story.tool.dialled, story.tool.executed) == (1, 1)
