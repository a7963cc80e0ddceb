"""The normative table of design 2.2, its lasting part: late replies, retention, tombstones, and other requests."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from ledger.records import Completed
from policies.model import Predicate, ResultRules, Selector
from tests.proxy.rows import EXECUTED, KEY_REUSED, REPLAYED, TIMED_OUT, UNAVAILABLE, UNKNOWN, row
from tests.proxy.scripted import Answers, Cuts, Hangs, Refuses, Step
from tests.proxy.virtual import in_virtual_time, now, run, until
from tests.proxy.world import POLICY, arrival, told, world

FAILED_IF = (Predicate(Selector("body", "/isError"), "==", literal=True),)


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
        replays = [await process.answer() for process in (story.a, story.b, story.start("c"))]
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
