"""The normative table of design 2.2, row by row: what the first caller, joiners and later arrivals get, on both
replicas.

In each story the first caller and one joiner are at process a, another joiner is at process b, and two later arrivals
come after the forward has ended, one at each. Times are virtual.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ledger.records import Completed, Unknown
from policies.model import Predicate, ResultRules, Retry, Selector, Timeouts, ToolPolicy
from proxy.answer import Answer
from tests.proxy.scripted import Answers, Cuts, Hangs, Refuses, Step
from tests.proxy.virtual import in_virtual_time, now, run, until
from tests.proxy.world import POLICY, World, arrival, field, outcome, told, world

FAILED_IF = (Predicate(Selector("body", "/isError"), "==", literal=True),)

EXECUTED, JOINED, REPLAYED = (200, "", "executed"), (200, "", "joined"), (200, "", "replayed")
LOST, TIMED_OUT = (502, "outcome-unknown", "unknown"), (504, "outcome-unknown", "unknown")
UNKNOWN = (409, "outcome-unknown", "unknown")
NOT_SENT = (502, "not-sent", "not-executed")
UNAVAILABLE = (409, "result-unavailable", "refused")
KEY_REUSED = (422, "key-reused", "refused")


class Row(Struct):
    """Who got what."""

    first: Answer
    beside: Answer
    afar: Answer
    later: list[Answer]


async def row(story: World, step: Step, policy: ToolPolicy = POLICY) -> Row:
    """Play one call that ends as `step` says, with two joiners and two later arrivals."""
    story.tool.will(step)
    asked = arrival(policy=policy)
    first = story.a.ask(asked)
    await asyncio.sleep(0.005)
    beside, afar = story.a.ask(asked), story.b.ask(asked)
    answers = await asyncio.gather(first, beside, afar)
    await asyncio.sleep(0.1)
    return Row(*answers, [await story.b.answer(asked), await story.a.answer(asked)])


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
        story.tool.will(*[Refuses()] * 3)
        assert told(await story.a.answer(arrival("call_2", policy=policy))) == NOT_SENT
        assert story.tool.dialled == 6


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


# -- late and differing ----------------------------------------------------------------------------------------------


@pytest.mark.fault(41)
@in_virtual_time
async def test_reply_beside_a_newer_claim_is_a_conflict() -> None:
    """The store forgot a claim, another made its own: the first one's reply changes nothing, and everybody looks."""
    async with world() as story:
        story.tool.will(Answers(after_s=2), Answers(after_s=1))
        first = story.a.ask()
        await until(0.5)
        await story.forget()
        second = story.b.ask()
        assert told(await second) == EXECUTED
        assert told(await first) == EXECUTED
        record = await story.record()
        assert isinstance(record, Completed)
        assert record.history[-1].what == "conflict"
        assert story.a.count("holdfast_late_conflicts_total", tool="create_ticket") == 1
        assert story.a.events("settled.conflict")[0]["level"] == "error"
        replays = [await story.a.answer(), await story.b.answer()]
        assert {answer.body for answer in replays} == {(await second).body}


@pytest.mark.fault(41)
@in_virtual_time
async def test_claim_that_the_store_forgot_is_noticed_when_it_settles() -> None:
    """Nobody else came meanwhile: the truth is written down anew, counted and told loudly."""
    async with world() as story:
        story.tool.will(Answers(after_s=2))
        first = story.a.ask()
        await until(0.5)
        await story.forget()
        assert told(await first) == EXECUTED
        assert told(await story.b.answer()) == REPLAYED
        assert story.a.count("holdfast_claims_lost_total", tool="create_ticket") == 1
        assert story.a.events("claim.lost")[0]["level"] == "error"
        assert story.tool.executed == 1


@pytest.mark.fault(41)
@in_virtual_time
async def test_first_caller_is_told_of_the_time_out_though_its_claim_was_lost() -> None:
    """Somebody else's claim stands by then; that is no reason to keep this caller waiting (I4)."""
    async with world() as story:
        story.tool.will(Hangs(), Answers(after_s=20))
        first = story.a.ask()
        await until(0.5)
        await story.forget()
        second = story.b.ask()
        assert told(await first) == TIMED_OUT
        assert 10 <= now() < 10.1
        await second


# -- times of keeping ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_result_past_retention_is_a_tombstone_and_past_remember_absent() -> None:
    """First it is replayed, then it is known to have run, then it is forgotten: by the store's clock, everywhere."""
    policy = replace(POLICY, result=ResultRules(retention_ms=60_000, remember_ms=120_000))
    asked = arrival(policy=policy)
    async with world() as story:
        await story.a.answer(asked)
        await until(59)
        assert [told(await story.a.answer(asked)), told(await story.b.answer(asked))] == [REPLAYED, REPLAYED]
        await until(61)
        assert [told(await story.a.answer(asked)), told(await story.b.answer(asked))] == [UNAVAILABLE, UNAVAILABLE]
        await until(119)
        assert [told(await story.a.answer(asked)), told(await story.b.answer(asked))] == [UNAVAILABLE, UNAVAILABLE]
        assert story.tool.dialled == 1
        await until(121)
        assert told(await story.b.answer(asked)) == EXECUTED


@in_virtual_time
async def test_unknown_is_never_forgotten() -> None:
    """Time alone does not make it safe to run it again."""
    async with world() as story:
        story.tool.will(Cuts())
        await story.a.answer()
        await until(3_600 * 3)
        assert [told(await story.a.answer()), told(await story.b.answer())] == [UNKNOWN, UNKNOWN]


@pytest.mark.fault(30, 31, 24)
@pytest.mark.parametrize(
    "step",
    [
        Answers(body=b"a large", pieces=(b" reply",)),
        Answers(headers=((b"Content-Type", b"text/event-stream"),), body=b"", pieces=(b"data: 1\n\n",)),
        Answers(framing="close"),
    ],
    ids=["too large", "event stream", "close-delimited"],
)
@in_virtual_time
async def test_reply_that_cannot_be_kept_leaves_a_tombstone(step: Answers) -> None:
    """The first caller gets it as it comes; nobody else takes it for something to be run again."""
    async with world() as story:
        got = await row(story, step)
        assert told(got.first) == EXECUTED
        assert [told(answer) for answer in (got.beside, got.afar, *got.later)] == [UNAVAILABLE] * 4
        assert story.tool.dialled == 1
        if step.pieces is not None:
            assert got.first.stream is not None
            assert tuple([piece async for piece in got.first.stream]) == step.pieces
            got.first.stream.close()


@in_virtual_time
async def test_close_delimited_reply_is_kept_where_the_policy_says_that_it_is_whole() -> None:
    """A tool whose author vouches for it is replayed."""
    policy = replace(POLICY, result=replace(POLICY.result, close_delimited_is_whole=True))
    async with world() as story:
        got = await row(story, Answers(framing="close"), policy)
        assert [told(answer) for answer in got.later] == [REPLAYED, REPLAYED]


@pytest.mark.fault(33)
@in_virtual_time
async def test_failure_in_the_body_is_completed_and_replayed() -> None:
    """`failedIf` tells that the tool failed; it answered all the same, and is not asked again."""
    rules = replace(POLICY.result, failed_if=FAILED_IF)
    policy = replace(POLICY, result=rules)
    async with world() as story:
        got = await row(story, Answers(body=b'{"isError": true}'), policy)
        assert [told(answer) for answer in got.later] == [REPLAYED, REPLAYED]
        record = await story.record()
        assert isinstance(record, Completed)
        assert record.failed


# -- other requests with the same key --------------------------------------------------------------------------------


OTHERS = {
    "body": arrival(body=b"{}"),
    "method": arrival(method=b"PUT"),
    "target": arrival(target=b"/tools/create_ticket?x=1"),
    "principal": arrival(principal="Bearer other"),
}


@pytest.mark.fault(7, 8)
@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("end", [Answers(after_s=5), Answers(429, after_s=5), Cuts(after_s=5), Hangs()])
@in_virtual_time
async def test_other_request_with_the_key_is_refused_at_once_in_every_state(end: Step, what: str) -> None:
    """In flight, completed, free or unknown: 422 before anything else, here and on the other replica."""
    other = OTHERS[what]
    async with world() as story:
        story.tool.will(end)
        first = story.a.ask()
        beside = story.a.ask(other)
        assert told(await beside) == KEY_REUSED
        await until(1)
        assert [told(await story.a.answer(other)), told(await story.b.answer(other))] == [KEY_REUSED, KEY_REUSED]
        assert now() < 1.1
        await first
        ended = now()
        assert [told(await story.a.answer(other)), told(await story.b.answer(other))] == [KEY_REUSED, KEY_REUSED]
        assert now() < ended + 0.1
        assert story.tool.dialled == 1
        await until(80)


@pytest.mark.fault(8)
@in_virtual_time
async def test_other_tenant_has_keys_of_its_own() -> None:
    """The same ids under another tenant are another call."""
    async with world() as story:
        answers = [await story.a.answer(arrival(tenant=tenant)) for tenant in ("acme", "globex")]
        assert [told(answer) for answer in answers] == [EXECUTED, EXECUTED]
        assert answers[0].body != answers[1].body


def test_every_row_names_its_problem_for_machines() -> None:
    """A refusal says in its document what a retry needs."""

    async def documents() -> dict[str, dict[str, object]]:
        async with world() as story:
            story.tool.will(Cuts(), Refuses())
            found = [await story.a.answer(arrival(call)) for call in ("call_1", "call_2", "call_1")]
            found.append(await story.a.answer(arrival("call_1", body=b"[]")))
            return {str(answer.status) + answer.problem: json.loads(answer.body) for answer in found}

    made = run(documents())
    assert {name: (doc["state"], doc["retry"], doc["safe_new_key"]) for name, doc in made.items()} == {
        "502outcome-unknown": ("unknown", "after-resolution", False),
        "502not-sent": ("free", "same-key", True),
        "409outcome-unknown": ("unknown", "after-resolution", False),
        "422key-reused": (None, "never", False),
    }
