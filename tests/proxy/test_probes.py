"""Probes: an unknown outcome is found out, by one replica at a time, and nothing is guessed."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from msgspec.structs import replace

from ledger.records import Completed, Free, Unknown
from policies.model import UnknownRules
from tests.proxy.gate import Wrong
from tests.proxy.lookup import PROBE, PROBED, Lookup, probed, probing
from tests.proxy.scripted import Answers, Cuts, Hangs
from tests.proxy.test_execution_store import Watched
from tests.proxy.virtual import in_virtual_time, now, settled, until
from tests.proxy.world import World, field, told, world

FREEING = replace(PROBED, unknown=UnknownRules(probe=replace(PROBE, free_after_ms=20_000)))


def ready(story: World) -> Lookup:
    """Let both processes of a story probe; return what the tool says of itself."""
    lookup = Lookup()
    for process in (story.a, story.b):
        probing(process, lookup)
    return lookup


@in_virtual_time
async def test_lost_reply_is_found_by_a_probe_and_replayed() -> None:
    """The connection broke after the tool had acted: two seconds later the probe knows, and the next caller gets it."""
    async with world() as story:
        lookup = ready(story)
        story.tool.will(Cuts(acts=True))
        assert told(await story.a.answer(probed())) == (502, "outcome-unknown", "unknown")
        second = story.a.ask(probed())  # comes while nobody knows, and is held
        given = await second
        assert (given.status, field(given, "Holdfast-Outcome"), field(given, "Holdfast-Late")) == (
            200,
            "replayed",
            "true",
        )
        assert lookup.asked == [pytest.approx(now(), abs=0.2)]
        assert told(await story.b.answer(probed()))[0] == 200
        record = await story.record()
        assert isinstance(record, Completed)
        assert (record.source, story.tool.executed) == ("probe", 1)
        assert story.a.count("holdfast_probes_total", tool="create_ticket", result="applied") == 1


@pytest.mark.fault(41)
@in_virtual_time
async def test_what_a_probe_finds_asks_for_the_replicas_that_the_policy_names() -> None:
    """It ends the call like the tool's own reply; that somebody is about to ask may be forgotten."""
    policy, store = replace(PROBED, replicas=2), Watched()
    async with world(store) as story:
        for process in (story.a, story.b):
            probing(process, Lookup(), policy)
        story.tool.will(Cuts(acts=True))
        await story.a.answer(probed(policy=policy))
        assert (await story.a.answer(probed(policy=policy))).status == 200
    written = [(phase, replicas) for phase, replicas in store.asked if phase != "in_flight"]
    assert written == [("unknown", 2), ("unknown", 0), ("completed", 2)]


@pytest.mark.fault(22)
@in_virtual_time
async def test_time_out_is_found_while_the_process_still_listens() -> None:
    """The tool acted and never answers: a probe ends it long before the listening does, for callers everywhere."""
    async with world() as story:
        ready(story)
        story.tool.will(Hangs(acts=True))
        assert told(await story.a.answer(probed())) == (504, "outcome-unknown", "unknown")
        here, there = story.a.ask(probed()), story.b.ask(probed())
        assert [(await one).status for one in (here, there)] == [200, 200]
        assert now() < 14
        assert story.tool.executed == 1


@pytest.mark.parametrize(("status", "conflicts"), [(200, 0), (422, 1)])
@in_virtual_time
async def test_late_reply_after_a_probe_is_not_applied_and_a_contradiction_is_told(status: int, conflicts: int) -> None:
    """What was replayed stays what is replayed; that the tool says in the end that it failed is noted loudly."""
    async with world() as story:
        ready(story)
        story.tool.will(Answers(status, after_s=30, acts=True))
        await story.a.answer(probed())
        first = await story.a.answer(probed())
        await until(50)
        assert (await story.a.answer(probed())).body == first.body
        assert story.a.count("holdfast_late_conflicts_total", tool="create_ticket") == conflicts


@pytest.mark.fault(55)
@in_virtual_time
async def test_call_whose_owner_died_is_probed_by_another_replica() -> None:
    """kill -9 in the middle of a call: the sweep of another process finds the lapsed lease, asks, and knows."""
    async with world() as story:
        lookup = ready(story)
        story.tool.will(Hangs(acts=True))
        story.a.ask(probed())
        await until(1)
        story.a.die()
        waiting = story.b.ask(probed())
        given = await waiting
        assert given.status == 200
        assert len(lookup.asked) == 1
        assert now() < 15 + 5 + 2 + 1
        assert story.tool.executed == 1


@in_virtual_time
async def test_prober_that_dies_is_followed_by_another() -> None:
    """A process dies between asking and writing down: the probe's own lease runs out, and somebody else asks."""
    async with world() as story:
        lookup = ready(story)
        lookup.takes_s = 1.0
        story.tool.will(Cuts(acts=True))
        await story.a.answer(probed())
        await until(2.6)
        assert lookup.under_way == 1
        story.a.die()
        await until(40)
        assert isinstance(await story.record(), Completed)
        assert len(lookup.asked) == 2


@in_virtual_time
async def test_two_replicas_never_ask_at_the_same_time() -> None:
    """Sweeps, timers and waiting callers on two replicas: one probe at a time."""
    async with world() as story:
        lookup = ready(story)
        lookup.takes_s, lookup.fails = 4.0, True
        story.tool.will(Cuts())
        await story.a.answer(probed())
        callers = [process.ask(probed()) for process in (story.a, story.b) for _ in range(3)]
        await until(100)
        assert {told(await one)[1] for one in callers} == {"outcome-unknown"}
        assert lookup.most_at_once == 1
        assert len(lookup.asked) > 3


@in_virtual_time
async def test_probes_end_and_callers_are_told_at_once_from_then_on() -> None:
    """After `for` nobody asks any more: it stays unknown, who waited is told, who comes is told without waiting."""
    async with world() as story:
        lookup = ready(story)
        lookup.fails = True
        story.tool.will(Cuts())
        await story.a.answer(probed())
        await until(63)
        count = len(lookup.asked)
        record = await story.record()
        assert isinstance(record, Unknown)
        assert record.probing is None
        before = now()
        assert told(await story.b.answer(probed())) == (409, "outcome-unknown", "unknown")
        assert now() - before < 0.1
        await until(200)
        assert (len(lookup.asked), count) == (count, 12)


@in_virtual_time
async def test_not_applied_frees_only_when_the_policy_trusts_it_and_its_time_is_over() -> None:
    """The tool has nothing: for 20 s that means nothing, since the original handler may still be at work; then the key
    is free, and exactly one of those who wait is forwarded."""
    async with world() as story:
        lookup = Lookup()
        for process in (story.a, story.b):
            probing(process, lookup, FREEING)
        story.tool.will(Cuts(acts=False))
        await story.a.answer(probed(policy=FREEING))
        await until(19)
        assert isinstance(await story.record(), Unknown)
        waiting = [process.ask(probed(policy=FREEING)) for process in (story.a, story.b) for _ in range(5)]
        answers = [await one for one in waiting]
        assert {one.status for one in answers} == {200}
        assert len({one.body for one in answers}) == 1
        assert now() >= 20
        assert story.tool.executed == 1


@in_virtual_time
async def test_not_applied_is_never_believed_where_the_policy_does_not_say_so() -> None:
    """Without `notApplied.trust: after` an empty lookup frees nothing: the tool may be slow to show what it did."""
    async with world() as story:
        lookup = ready(story)
        lookup.hides = True
        story.tool.will(Cuts(acts=True))
        await story.a.answer(probed())
        await until(300)
        assert isinstance(await story.record(), Unknown)
        assert story.tool.executed == 1


@in_virtual_time
async def test_slow_handler_is_not_run_again_while_it_is_at_work() -> None:
    """The lookup is empty because the handler has not finished: the key is free after its time only, and its late reply
    completes the record meanwhile."""
    async with world() as story:
        lookup = Lookup()
        for process in (story.a, story.b):
            probing(process, lookup, FREEING)
        lookup.hides = True
        story.tool.will(Answers(after_s=18))
        await story.a.answer(probed(policy=FREEING))
        await until(100)
        assert isinstance(await story.record(), Completed)
        assert story.tool.executed == 1


@in_virtual_time
async def test_policy_that_lost_its_probe_ends_the_asking() -> None:
    """After a reload nobody knows how to ask: that is said in the history, and callers are not held for it."""
    async with world() as story:
        for process in (story.a, story.b):
            probing(process, Lookup(), None)
        story.tool.will(Cuts())
        await story.a.answer(probed())
        await until(5)
        record = await story.record()
        assert isinstance(record, Unknown)
        assert record.probing is None
        assert record.history[-1].detail == "no policy says how to ask"


@in_virtual_time
async def test_probe_of_a_free_key_that_somebody_claimed_again_touches_nothing() -> None:
    """A process listens on for a call that a probe freed and another claimed: the new attempt is nobody else's."""
    async with world() as story:
        lookup = Lookup()
        for process in (story.a, story.b):
            probing(process, lookup, FREEING)
        story.tool.will(Hangs(acts=False), Answers())
        await story.a.answer(probed(policy=FREEING))
        await until(40)
        assert isinstance(await story.record(), Free)
        given = await story.b.answer(probed(policy=FREEING))
        assert field(given, "Holdfast-Outcome") == "executed"
        assert (await story.a.answer(probed(policy=FREEING))).body == given.body
        assert story.tool.executed == 1


@pytest.mark.parametrize("wrong", list(Wrong))
@in_virtual_time
async def test_failure_at_any_step_of_a_probe_runs_nothing_twice(wrong: Wrong) -> None:
    """Whatever goes wrong at the n-th step, for every n: one execution, and a truth that callers can rely on."""
    for step in itertools.count(1):
        async with world() as story:
            lookup = Lookup()
            broken = probing(story.start("broken", {step: wrong}), lookup)
            probing(story.b, lookup)
            story.tool.will(Cuts(acts=True))
            first = broken.ask(probed())
            await until(120)
            await settled()
            given = await story.b.answer(probed())
            assert given.status in {200, 409, 502, 503}, (step, told(given))
            assert story.tool.executed <= 1
            over = len(broken.gate.steps) < step
            first.cancel()
        if over:
            break
    assert step > 5


@in_virtual_time
async def test_stopping_process_drops_its_probes_and_leaves_them_to_others() -> None:
    """A process that goes asks no more; the sweep of another takes the probe up."""
    async with world() as story:
        lookup = ready(story)
        story.tool.will(Cuts(acts=True))
        await story.a.answer(probed())
        story.a.works.stopping = True
        await story.a.works.prober.close()
        await until(30)
        await asyncio.sleep(0)
        assert isinstance(await story.record(), Completed)
        assert len(lookup.asked) == 1
