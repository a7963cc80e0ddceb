"""Effect keys: another id, the same effect. What the second call gets, by the policy's word and by what became of the
first, on one replica and on two."""

from __future__ import annotations

import pytest

from ledger.records import Alias, Completed, Unknown
from policies.model import ToolPolicy
from tests.proxy.regenerated import HOLD, OBSERVE, REFUSE, REPLAY, WINDOW_S, first_of, request
from tests.proxy.rows import EXECUTED, JOINED, REPLAYED
from tests.proxy.scripted import Answers, Cuts
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import field, told, world

X1, X2, X3 = "call_X1", "call_X2", "call_X3"
DUPLICATE = (409, "effect-duplicate", "refused")
IN_FLIGHT = (409, "in-flight", "refused")
UNKNOWN = (409, "outcome-unknown", "unknown")
EVERY = pytest.mark.parametrize("policy", [REPLAY, REFUSE, HOLD, OBSERVE], ids=["replay", "refuse", "hold", "observe"])


# -- a new id for the same step --------------------------------------------------------------------------------------


@in_virtual_time
async def test_regenerated_call_in_flight_gets_the_first_ones_result() -> None:
    """The replica died, the model calls again under another id, here and elsewhere: one ticket, the same answer, and
    each answer bears its own operation and names the first."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(request(X1))
        await until(1)
        beside, afar = story.a.ask(request(X2)), story.b.ask(request(X3))
        answers = [await first, await beside, await afar]
        assert [told(answer) for answer in answers] == [EXECUTED, JOINED, JOINED]
        assert len({answer.body for answer in answers}) == 1
        assert story.tool.dialled == 1
        operations = [field(answer, "Holdfast-Operation") for answer in answers]
        assert operations == [request(call).ref.operation for call in (X1, X2, X3)]
        assert [first_of(answer) for answer in answers] == [None, operations[0], operations[0]]
        assert 5 < now() < 6
        assert story.a.count("holdfast_effect_duplicates_total", tool="create_ticket", action="replay") == 1
        assert answers[1].how == "effect-joined"
        assert story.a.count("holdfast_duplicates_prevented_total", tool="create_ticket", how="effect-joined") == 1


@in_virtual_time
async def test_regenerated_call_after_completion_is_replayed_within_the_window() -> None:
    """The first has ended some seconds ago: its result is the answer, on either replica."""
    async with world() as story:
        first = await story.a.answer(request(X1))
        await until(WINDOW_S - 1)
        later = [await story.a.answer(request(X2)), await story.b.answer(request(X3))]
        assert [told(answer) for answer in later] == [REPLAYED, REPLAYED]
        assert {answer.body for answer in later} == {first.body}
        assert [first_of(answer) for answer in later] == [request(X1).ref.operation] * 2
        assert story.tool.dialled == 1
        record = await story.record(request(X2))
        assert isinstance(record, Alias)
        assert record.of == request(X1).ref.operation


@EVERY
@in_virtual_time
async def test_same_effect_after_the_window_is_a_new_call(policy: ToolPolicy) -> None:
    """Two intended identical e-mails go through, whatever the policy."""
    async with world() as story:
        await story.a.answer(request(X1, policy))
        await until(WINDOW_S + 1)
        assert told(await story.b.answer(request(X2, policy))) == EXECUTED
        assert story.tool.executed == 2


@EVERY
@in_virtual_time
async def test_same_effect_elsewhere_is_a_new_call(policy: ToolPolicy) -> None:
    """Another thread, another user, another subject: none of these is a duplicate."""
    async with world() as story:
        await story.a.answer(request(X1, policy))
        others = [
            request(X2, policy, thread="thread_2"), request(X2, policy, run="run_2", user="U2"),
            request(X2, policy, run="run_3", subject="scanner"),
        ]  # fmt: skip
        assert [told(await story.a.answer(other)) for other in others] == [EXECUTED] * 3
        assert story.tool.executed == 4


@in_virtual_time
async def test_alias_answers_its_own_retries_after_the_window_too() -> None:
    """Who was told that the call is done is told so again; a new call is a new call by then."""
    async with world() as story:
        first = await story.a.answer(request(X1))
        await story.a.answer(request(X2))
        await until(WINDOW_S + 100)
        for process in (story.a, story.b):
            again = await process.answer(request(X2))
            assert told(again) == REPLAYED
            assert again.body == first.body
        assert told(await story.a.answer(request(X3))) == EXECUTED
        assert told(await story.a.answer(request(X2))) == REPLAYED
        assert story.tool.executed == 2


@pytest.mark.fault(7)
@in_virtual_time
async def test_alias_with_other_words_is_another_call() -> None:
    """The key is looked at before the effect: another body under an alias's key is refused as such."""
    async with world() as story:
        await story.a.answer(request(X1))
        await story.a.answer(request(X2))
        assert told(await story.a.answer(request(X2, note="urgent"))) == (422, "key-reused", "refused")
        assert told(await story.b.answer(request(X2, subject="scanner"))) == (422, "key-reused", "refused")
        assert story.tool.executed == 1


@in_virtual_time
async def test_fields_alone_make_the_effect() -> None:
    """The model says it in other words: what the policy does not name may differ."""
    async with world() as story:
        first = await story.a.answer(request(X1, note="it jams"))
        again = await story.b.answer(request(X2, note="paper jam"))
        assert (told(again), again.body) == (REPLAYED, first.body)


@in_virtual_time
async def test_same_key_is_never_held_up_by_its_own_effect() -> None:
    """Duplicates by key join and replay as ever, under every policy."""
    for policy in (REPLAY, REFUSE, HOLD, OBSERVE):
        async with world() as story:
            story.tool.will(Answers(after_s=5))
            asked = [
                story.a.ask(request(X1, policy)),
                story.a.ask(request(X1, policy)),
                story.b.ask(request(X1, policy)),
            ]
            assert [told(await one) for one in asked] == [EXECUTED, JOINED, JOINED]
            assert told(await story.b.answer(request(X1, policy))) == REPLAYED
            assert [first_of(await one) for one in asked] == [None] * 3
            assert story.tool.dialled == 1


# -- what the policy says --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_refusal_names_the_first_and_stands() -> None:
    """409 at once, in flight and afterwards, and for its own retries; nothing of the second is forwarded."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(request(X1, REFUSE))
        await until(1)
        for process in (story.a, story.b):
            answer = await process.answer(request(X2, REFUSE))
            assert told(answer) == DUPLICATE
            assert first_of(answer) == request(X1).ref.operation
        assert now() < 2
        await first
        assert told(await story.b.answer(request(X3, REFUSE))) == DUPLICATE
        await until(WINDOW_S + 100)
        assert told(await story.b.answer(request(X2, REFUSE))) == DUPLICATE
        assert told(await story.b.answer(request("call_X4", REFUSE))) == EXECUTED
        assert story.tool.executed == 2
        assert isinstance(await story.record(request(X2)), Alias)
        assert story.b.count("holdfast_effect_duplicates_total", tool="create_ticket", action="refuse") == 1


@in_virtual_time
async def test_observed_duplicates_are_counted_and_forwarded() -> None:
    """Two tickets, two operations, a line and a count that say so; no alias."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(request(X1, OBSERVE))
        await until(1)
        second = await story.b.answer(request(X2, OBSERVE))
        assert [told(await first), told(second)] == [EXECUTED, EXECUTED]
        assert story.tool.executed == 2
        assert story.b.count("holdfast_effect_duplicates_total", tool="create_ticket", action="observe") == 1
        (line,) = story.b.events("effect.duplicate")
        assert line["first_operation"] == request(X1).ref.operation
        assert line["operation"] == request(X2).ref.operation
        assert line["action"] == "observe"
        assert line["effect_hash"]
        record = await story.record(request(X2))
        assert isinstance(record, Completed)
        assert record.effect is None
        assert told(await story.a.answer(request(X2, OBSERVE))) == REPLAYED


@in_virtual_time
async def test_hold_forwards_once_the_first_has_ended() -> None:
    """The second waits for the first and runs after it, and the third after the second: never two at a time."""
    async with world() as story:
        story.tool.usual = Answers(after_s=5)
        asked = [story.a.ask(request(X1, HOLD)), story.a.ask(request(X2, HOLD)), story.b.ask(request(X3, HOLD))]
        await until(4)
        assert story.tool.dialled == 1
        await until(9)
        assert story.tool.dialled == 2
        assert [told(await one) for one in asked] == [EXECUTED] * 3
        assert 15 < now() < 16
        assert story.tool.executed == 3


@in_virtual_time
async def test_hold_after_the_firsts_completion_does_not_wait() -> None:
    """Within the window the first is done already."""
    async with world() as story:
        await story.a.answer(request(X1, HOLD))
        assert told(await story.b.answer(request(X2, HOLD))) == EXECUTED
        assert now() < 1


@in_virtual_time
async def test_many_that_hold_run_one_after_the_other() -> None:
    """However many wait, each has its turn before its patience ends."""
    async with world() as story:
        story.tool.usual = Answers(after_s=0.2)
        asked = [(story.a, story.b)[n % 2].ask(request(f"call_{n}", HOLD)) for n in range(50)]
        assert [told(await one) for one in asked] == [EXECUTED] * 50
        assert now() > 50 * 0.2


# -- patience --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [REPLAY, HOLD], ids=["replay", "hold"])
@in_virtual_time
async def test_impatient_duplicate_is_told_of_the_first_in_flight(policy: ToolPolicy) -> None:
    """409 that names it; the same key may be asked again, and gets the result then."""
    async with world() as story:
        story.tool.will(Answers(after_s=5))
        first = story.a.ask(request(X1, policy))
        await until(1)
        for process in (story.a, story.b):
            answer = await process.answer(request(X2, policy, patience_s=1))
            assert told(answer) == IN_FLIGHT
            assert first_of(answer) == request(X1).ref.operation
        assert now() == pytest.approx(3, abs=0.2)
        assert told(await first) == EXECUTED
        assert story.tool.executed == 1


@pytest.mark.parametrize("policy", [REPLAY, HOLD], ids=["replay", "hold"])
@in_virtual_time
async def test_duplicate_of_an_unknown_is_told_so_whatever_the_window(policy: ToolPolicy) -> None:
    """The first was lost: nobody knows whether it ran, so nobody runs it again, an hour later neither."""
    async with world() as story:
        story.tool.will(Cuts())
        await story.a.answer(request(X1, policy))
        await until(3_600)
        start = now()
        for process in (story.a, story.b):
            answer = await process.answer(request(X2, policy))
            assert told(answer) == UNKNOWN
            assert first_of(answer) == request(X1).ref.operation
        waited = now() - start
        assert (59 < waited < 61) if policy is HOLD else (waited < 1)
        assert story.tool.executed == 1
        assert isinstance(await story.record(request(X1)), Unknown)


@in_virtual_time
async def test_refused_duplicate_of_an_unknown_is_refused() -> None:
    """The effect is held as long as nobody knows."""
    async with world() as story:
        story.tool.will(Cuts())
        await story.a.answer(request(X1, REFUSE))
        await until(3_600)
        assert told(await story.b.answer(request(X2, REFUSE))) == DUPLICATE


@in_virtual_time
async def test_late_truth_reaches_who_waits_for_the_effect() -> None:
    """The first's caller was told 504; the reply comes late, and is everybody's answer."""
    async with world() as story:
        story.tool.will(Answers(after_s=16))
        first = story.a.ask(request(X1))
        await until(12)
        beside, afar = story.a.ask(request(X2)), story.b.ask(request(X3))
        assert told(await first) == (504, "outcome-unknown", "unknown")
        answers = [await beside, await afar]
        assert [told(answer) for answer in answers] == [REPLAYED, REPLAYED]
        assert {field(answer, "Holdfast-Late") for answer in answers} == {"true"}
        assert story.tool.executed == 1
