"""An effect whose first call is unknown, and whose tool can be asked: who waits for the effect gets the truth."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.records import Alias, Completed, Free, ProbePlan, Unknown
from policies.model import ToolPolicy
from proxy.arrival import Arrival
from tests.proxy.lookup import PROBE, PROBED, Lookup, probing
from tests.proxy.regenerated import effects, first_of, request
from tests.proxy.rows import EXECUTED, REPLAYED
from tests.proxy.scripted import Cuts, Hangs, Step
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import World, field, told, world

REPLAY, REFUSE, HOLD = (effects(then, base=PROBED) for then in ("replay", "refuse", "hold"))
TRUSTING = replace(PROBED.unknown, probe=replace(PROBE, free_after_ms=20_000))
X1, X2, X3 = "call_X1", "call_X2", "call_X3"


def asked(call: str, policy: ToolPolicy = REPLAY, patience_s: float | None = None) -> Arrival:
    """Return an attempt whose record says how to probe, and what it would do."""
    arrival = request(call, policy, patience_s=patience_s)
    return replace(arrival, plan=ProbePlan(f"/lookup?ref={arrival.ref.operation}", PROBE.after_ms))


def ready(story: World, policy: ToolPolicy) -> Lookup:
    """Let both processes of a story probe; return what the tool says of itself."""
    lookup = Lookup()
    for process in (story.a, story.b):
        probing(process, lookup, policy)
    return lookup


@pytest.mark.parametrize("step", [Cuts(acts=True), Hangs(acts=True)], ids=["lost", "out of time"])
@in_virtual_time
async def test_duplicate_of_what_a_probe_finds_gets_what_was_found(step: Step) -> None:
    """The reply is lost, or the process listens on for it: whoever waits, on any replica, is told by the probe, and not
    by the end of its patience."""
    async with world() as story:
        ready(story, REPLAY)
        story.tool.will(step)
        assert told(await story.a.answer(asked(X1)))[1] == "outcome-unknown"
        unknown_at = now()
        waiting = [story.a.ask(asked(X2)), story.b.ask(asked(X3))]
        answers = [await one for one in waiting]
        assert [told(answer) for answer in answers] == [REPLAYED] * 2
        assert {field(answer, "Holdfast-Late") for answer in answers} == {"true"}
        assert {first_of(answer) for answer in answers} == {asked(X1).ref.operation}
        assert now() - unknown_at < 4
        assert story.tool.executed == 1


@in_virtual_time
async def test_duplicate_that_saw_the_first_get_lost_waits_for_the_probe_too() -> None:
    """It waited while the first was in flight: the loss is no end for it, since somebody is finding out."""
    async with world() as story:
        ready(story, REPLAY)
        story.tool.will(Cuts(acts=True, after_s=2))
        first = story.a.ask(asked(X1))
        await until(1)
        waiting = [story.a.ask(asked(X2)), story.b.ask(asked(X3))]
        assert told(await first) == (502, "outcome-unknown", "unknown")
        answers = [await one for one in waiting]
        assert [answer.status for answer in answers] == [200, 200]
        assert len({answer.body for answer in answers}) == 1
        assert story.tool.executed == 1


@in_virtual_time
async def test_duplicate_that_waits_for_a_probe_is_answered_when_its_patience_ends() -> None:
    """The lookup does not answer: 409, naming the first; its own retry gets the truth when there is one."""
    async with world() as story:
        lookup = ready(story, REPLAY)
        lookup.fails = True
        story.tool.will(Cuts(acts=True))
        await story.a.answer(asked(X1))
        for process in (story.a, story.b):
            started = now()
            answer = await process.answer(asked(X2, patience_s=3))
            assert told(answer) == (409, "outcome-unknown", "unknown")
            assert first_of(answer) == asked(X1).ref.operation
            assert now() - started == pytest.approx(3, abs=0.3)
        lookup.fails = False
        assert told(await story.b.answer(asked(X2))) == REPLAYED
        assert story.tool.executed == 1


@in_virtual_time
async def test_refused_duplicate_does_not_wait_for_a_probe() -> None:
    """What is unknown is held; nothing that a probe could say would let it through now."""
    async with world() as story:
        ready(story, REFUSE)
        story.tool.will(Cuts(acts=True))
        await story.a.answer(asked(X1, REFUSE))
        started = now()
        assert told(await story.b.answer(asked(X2, REFUSE))) == (409, "effect-duplicate", "refused")
        assert now() - started < 0.5


@in_virtual_time
async def test_held_duplicate_is_forwarded_when_a_probe_has_ended_the_first() -> None:
    """Found to have run, the first is done: it is the next one's turn, and not before."""
    async with world() as story:
        ready(story, HOLD)
        story.tool.will(Cuts(acts=True))
        await story.a.answer(asked(X1, HOLD))
        second = story.b.ask(asked(X2, HOLD))
        await until(1.9)
        assert story.tool.dialled == 1
        assert told(await second) == EXECUTED
        assert isinstance(await story.record(asked(X1)), Completed)
        assert story.tool.executed == 2


@in_virtual_time
async def test_first_that_a_probe_finds_undone_leaves_its_effect_to_exactly_one() -> None:
    """The tool has nothing, the policy trusts that after its time: of all who wait, one runs, and the rest get its
    result."""
    policy = effects(base=replace(PROBED, unknown=TRUSTING))
    async with world() as story:
        ready(story, policy)
        story.tool.will(Cuts(acts=False))
        await story.a.answer(asked(X1, policy))
        assert isinstance(await story.record(asked(X1)), Unknown)
        waiting = [process.ask(asked(f"call_{n}", policy)) for n in range(5) for process in (story.a, story.b)]
        answers = [await one for one in waiting]
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert now() >= 20
        assert story.tool.executed == 1
        assert isinstance(await story.record(asked(X1)), Free)
        again = await story.b.answer(asked(X1, policy))
        assert (told(again), again.body) == (REPLAYED, answers[0].body)
        assert isinstance(await story.record(asked(X1)), Alias)
