"""Effect keys when the first call fails, frees its key, is forgotten or is nobody's: and who has none of its ids."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.records import Alias, Free, Unknown
from policies.model import KeyRules, Predicate, ResultRules, Selector, Timeouts, ToolPolicy
from tests.proxy.regenerated import HOLD, NO_IDS, OBSERVE, REFUSE, REPLAY, effects, first_of, request
from tests.proxy.rows import EXECUTED, JOINED, REPLAYED
from tests.proxy.scripted import Answers, Hangs, Refuses
from tests.proxy.virtual import in_virtual_time, now, settled, until
from tests.proxy.world import POLICY, field, told, world

X1, X2, X3 = "call_X1", "call_X2", "call_X3"
DUPLICATE = (409, "effect-duplicate", "refused")
IN_FLIGHT = (409, "in-flight", "refused")
UNKNOWN = (409, "outcome-unknown", "unknown")
EVERY = pytest.mark.parametrize("policy", [REPLAY, REFUSE, HOLD, OBSERVE], ids=["replay", "refuse", "hold", "observe"])


# -- what ends free, or fails, holds nothing -------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [REPLAY, HOLD], ids=["replay", "hold"])
@in_virtual_time
async def test_first_that_ends_free_leaves_its_effect_to_exactly_one(policy: ToolPolicy) -> None:
    """Fifty wait, on two replicas; the first was never sent: one of them runs, and only one at a time."""
    async with world() as story:
        story.tool.will(Refuses(after_s=5))
        story.tool.usual = Answers(after_s=0.1)
        first = story.a.ask(request(X1, policy))
        await until(1)
        asked = [(story.a, story.b)[n % 2].ask(request(f"call_{n}", policy)) for n in range(50)]
        assert told(await first) == (502, "not-sent", "not-executed")
        answers = [await one for one in asked]
        outcomes = [told(answer) for answer in answers]
        if policy is HOLD:
            assert outcomes == [EXECUTED] * 50
            return
        assert outcomes.count(EXECUTED) == 1
        assert set(outcomes) <= {EXECUTED, JOINED, REPLAYED}
        assert len({answer.body for answer in answers}) == 1
        assert story.tool.executed == 1
        assert isinstance(await story.record(request(X1)), Free)
        winner = next(field(answer, "Holdfast-Operation") for answer in answers if told(answer) == EXECUTED)
        assert {first_of(answer) for answer in answers if told(answer) != EXECUTED} == {winner}


@in_virtual_time
async def test_first_that_comes_back_finds_who_has_its_effect_by_now() -> None:
    """Its own key was free, and another has done it meanwhile: it becomes the alias."""
    async with world() as story:
        story.tool.will(Refuses())
        await story.a.answer(request(X1))
        second = await story.a.answer(request(X2))
        assert told(second) == EXECUTED
        again = await story.b.answer(request(X1))
        assert (told(again), again.body, first_of(again)) == (REPLAYED, second.body, request(X2).ref.operation)
        record = await story.record(request(X1))
        assert isinstance(record, Alias)
        assert [line.what for line in record.history] == ["claimed", "not-sent", "aliased"]


@pytest.mark.parametrize("policy", [REPLAY, REFUSE, HOLD], ids=["replay", "refuse", "hold"])
@pytest.mark.parametrize("body", [b'{"isError": true}', None], ids=["failedIf", "404"])
@in_virtual_time
async def test_failure_holds_nothing(body: bytes | None, policy: ToolPolicy) -> None:
    """A body that reports a failure, a status from 400 up: the same effect under another id is a new try."""
    failed = (Predicate(Selector("body", "/isError"), "==", True),)
    ruled = replace(policy, result=replace(policy.result, failed_if=failed))
    async with world() as story:
        story.tool.will(Answers(200 if body else 404, body=body))
        first = await story.a.answer(request(X1, ruled))
        assert told(await story.b.answer(request(X2, ruled))) == EXECUTED
        assert told(await story.b.answer(request(X1, ruled)))[2] == "replayed"
        assert (await story.a.answer(request(X1, ruled))).body == first.body
        assert story.tool.dialled == 2


@in_virtual_time
async def test_failure_that_a_duplicate_waited_for_is_not_its_answer() -> None:
    """The first fails while others wait for it: one of them tries, and that is everybody's."""
    async with world() as story:
        story.tool.will(Answers(422, after_s=5, body=b'{"error": "no such user"}'), Answers(after_s=1))
        first = story.a.ask(request(X1))
        await until(1)
        asked = [story.a.ask(request(X2)), story.b.ask(request(X3))]
        assert told(await first) == (422, "", "executed")
        answers = [await one for one in asked]
        assert sorted(told(answer)[2] or "" for answer in answers) == ["executed", "joined"]
        assert story.tool.dialled == 2


@in_virtual_time
async def test_refused_duplicate_of_what_then_failed_may_be_asked_again() -> None:
    """Its alias names an operation that holds nothing by now: the retry of the same key runs."""
    async with world() as story:
        story.tool.will(Refuses(after_s=5))
        first = story.a.ask(request(X1, REFUSE))
        await until(1)
        assert told(await story.b.answer(request(X2, REFUSE))) == DUPLICATE
        await first
        assert told(await story.b.answer(request(X2, REFUSE))) == EXECUTED
        assert told(await story.a.answer(request(X1, REFUSE))) == DUPLICATE


@pytest.mark.fault(45)
@in_virtual_time
async def test_alias_of_what_the_store_forgot_may_be_claimed() -> None:
    """The operation it names is past `remember`: nothing holds the effect."""
    async with world() as story:
        brief = replace(REPLAY, result=ResultRules(retention_ms=60_000, remember_ms=120_000))
        await story.a.answer(request(X1, brief))
        await until(60)
        long = replace(REPLAY, result=ResultRules(retention_ms=60_000, remember_ms=3_600_000))
        await story.b.answer(request(X2, long))
        await until(300)
        assert told(await story.b.answer(request(X2, long))) == EXECUTED


# -- results that are not there --------------------------------------------------------------------------------------


@in_virtual_time
async def test_duplicate_of_a_tombstone_is_told_that_it_ran() -> None:
    """The first's result was too large to keep, or is past retention: it is not run again for that."""
    async with world() as story:
        story.tool.will(Answers(pieces=(b"much",)))
        first = await story.a.answer(request(X1))
        assert first.stream is not None
        answer = await story.b.answer(request(X2))
        assert told(answer) == (409, "result-unavailable", "refused")
        assert first_of(answer) == request(X1).ref.operation
        assert story.tool.executed == 1


@pytest.mark.fault(8)
@in_virtual_time
async def test_result_is_never_given_to_another_principal() -> None:
    """The same effect by another caller's credential: refused, though the policy replays."""
    async with world() as story:
        await story.a.answer(request(X1, principal="Bearer alice"))
        answer = await story.b.answer(request(X2, principal="Bearer bob"))
        assert told(answer) == DUPLICATE
        assert b"execution" not in answer.body
        assert told(await story.b.answer(request(X3, principal="Bearer alice"))) == REPLAYED
        assert story.tool.executed == 1


@pytest.mark.fault(47)
@in_virtual_time
async def test_holder_that_cannot_be_read_holds_all_the_same() -> None:
    """Its record was spoiled: that is not absence."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(request(X1))
        await until(1)
        await story.spoil(request(X1))
        answer = await story.b.answer(request(X2))
        assert told(answer) == UNKNOWN
        assert story.tool.executed == 1
        await first


# -- runs, users, tenants --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_repeated_user_message_in_one_thread_runs_once() -> None:
    """The user asks twice; the second run calls the tool again, within the window: the first's ticket is the answer."""
    async with world() as story:
        first = await story.a.answer(request("call_1", run="run_1"))
        await until(30)
        again = await story.b.answer(request("call_9", run="run_2"))
        assert (told(again), again.body) == (REPLAYED, first.body)


@in_virtual_time
async def test_two_runs_for_one_click_run_once() -> None:
    """Scope user: the click made two threads and two runs."""
    policy = effects(scope="user")
    async with world() as story:
        story.tool.will(Answers(after_s=2))
        asked = [
            story.a.ask(request("call_1", policy, run="run_1", thread="thread_1")),
            story.b.ask(request("call_1", policy, run="run_2", thread="thread_2")),
        ]
        assert sorted([told(await one)[2] or "" for one in asked]) == ["executed", "joined"]
        assert told(await story.a.answer(request("call_1", policy, run="run_3", user="U2"))) == EXECUTED


# -- calls without ids -----------------------------------------------------------------------------------------------


@pytest.mark.fault(9)
@in_virtual_time
async def test_calls_without_ids_have_their_effect_for_identity() -> None:
    """Two identical calls at once, and in other words, and later: one execution."""
    async with world() as story:
        story.tool.will(Answers(after_s=2))
        asked = [story.a.ask(request(None, NO_IDS)), story.b.ask(request(None, NO_IDS, note="please"))]
        assert sorted([told(await one)[2] or "" for one in asked]) == ["executed", "joined"]
        assert told(await story.a.answer(request(None, NO_IDS))) == REPLAYED
        assert told(await story.a.answer(request(None, NO_IDS, subject="scanner"))) == EXECUTED
        assert story.tool.executed == 2


@in_virtual_time
async def test_call_with_ids_meets_the_effect_of_one_without() -> None:
    """Whoever has the ids: the effect is one."""
    async with world() as story:
        first = await story.a.answer(request(None, NO_IDS))
        again = await story.b.answer(request(X1, NO_IDS))
        assert (told(again), again.body) == (REPLAYED, first.body)


@pytest.mark.fault(7)
@in_virtual_time
async def test_reused_ids_are_kept_apart_where_the_policy_says_so() -> None:
    """A provider that gives two calls one id: refused by default with both hashes in the log, else two calls."""
    separate = replace(POLICY, key=KeyRules(on_reuse="separate"))
    async with world() as story:
        assert told(await story.a.answer(request(X1, separate))) == EXECUTED
        assert told(await story.b.answer(request(X1, separate, subject="scanner"))) == EXECUTED
        assert told(await story.b.answer(request(X1, separate))) == REPLAYED
        assert story.tool.executed == 2
    async with world() as story:
        await story.a.answer(request(X1, POLICY))
        assert told(await story.a.answer(request(X1, POLICY, subject="scanner"))) == (422, "key-reused", "refused")
        (line,) = story.a.events("key.reused")
        assert line["payload_hash"] != line["first_payload_hash"]


# -- what it costs, and what else ends it ----------------------------------------------------------------------------


@EVERY
@in_virtual_time
async def test_effect_key_costs_no_round_trip(policy: ToolPolicy) -> None:
    """A claim and a settlement, as without."""
    async with world() as story:
        await story.a.answer(request(X1, policy))
        assert story.a.gate.steps == ["swap", "dial", "send", "receive", "swap"]


@in_virtual_time
async def test_dead_holder_is_unknown_to_who_waits_for_its_effect() -> None:
    """Its process died with the call: the lease lapses, and the outcome is unknown, not free."""
    async with world() as story:
        story.tool.will(Hangs())
        story.a.ask(request(X1))
        await until(1)
        story.a.die()
        answer = await story.b.answer(request(X2))
        assert told(answer) == UNKNOWN
        assert 14 < now() < 25
        assert isinstance(await story.record(request(X1)), Unknown)


@pytest.mark.fault(34)
@in_virtual_time
async def test_store_that_goes_away_while_one_waits_does_not_forward() -> None:
    """The effect is known to be another's: `storeDown: forward` does not mean this."""
    policy = replace(REPLAY, store_down="forward")
    async with world() as story:
        story.tool.will(Answers(after_s=20))
        slow = replace(policy, timeouts=Timeouts(upstream_ms=40_000, hold_ms=5_000))
        first = story.a.ask(request(X1, slow))
        await until(1)
        second = story.b.ask(request(X2, slow))
        await until(2)
        story.b.gate.outage = True
        assert told(await second) == IN_FLIGHT
        story.b.gate.outage = False
        await first
        assert story.tool.executed == 1


@in_virtual_time
async def test_too_many_waiters_for_an_effect_are_refused() -> None:
    """They are bounded as joiners are."""
    limited = replace(REPLAY, limits=replace(REPLAY.limits, waiters_per_key=2))
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(request(X1, limited))
        await until(1)
        asked = [story.a.ask(request(f"call_{n}", limited)) for n in range(4)]
        await settled()
        assert sorted([told(await one) for one in asked]) == [JOINED, JOINED, *[(503, "overloaded", "refused")] * 2]
        await first


@in_virtual_time
async def test_duplicate_that_hangs_up_leaves_the_others_alone() -> None:
    """It waits for somebody else's forward: only it goes."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(request(X1))
        await until(1)
        going, staying = story.a.ask(request(X2)), story.a.ask(request(X3))
        await until(2)
        going.cancel()
        assert [told(await first), told(await staying)] == [EXECUTED, JOINED]


@in_virtual_time
async def test_policy_that_no_longer_speaks_of_effects_still_follows_an_alias() -> None:
    """What was answered once is answered again, after a reload of the policies too."""
    for later in (POLICY, OBSERVE, HOLD):
        async with world() as story:
            first = await story.a.answer(request(X1))
            await story.a.answer(request(X2))
            again = await story.b.answer(request(X2, later))
            assert (told(again), again.body) == (REPLAYED, first.body)
            assert story.tool.executed == 1
