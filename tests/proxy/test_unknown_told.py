"""Whoever is told `outcome-unknown` is told whether to ask again may bring its end, or nothing but a person can."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from ledger.records import ProbePlan
from policies.model import Timeouts
from proxy.answer import Answer
from proxy.arrival import Arrival
from tests.proxy.honouring import RESENT, WITHIN_MS, Fate, Honouring, honoured, resent
from tests.proxy.lookup import PROBE, PROBED, Lookup, probing
from tests.proxy.regenerated import effects, request
from tests.proxy.scripted import Cuts, Hangs
from tests.proxy.test_attach import attach
from tests.proxy.virtual import in_virtual_time, until
from tests.proxy.world import POLICY, arrival, world

DEAF = replace(POLICY, timeouts=Timeouts(upstream_ms=10_000, hold_ms=30_000, late_ms=0))
LISTENS = replace(DEAF, timeouts=replace(DEAF.timeouts, hold_ms=2_000, late_ms=60_000))


def can_end(answer: Answer) -> bool:
    """Return what an `outcome-unknown` says about its end."""
    assert answer.problem == "outcome-unknown"
    said = json.loads(answer.body)["can_end"]
    assert isinstance(said, bool)
    return said


@pytest.mark.parametrize("step", [Cuts(), Hangs()], ids=["lost", "out of time"])
@in_virtual_time
async def test_unknown_that_nobody_works_on_is_said_to_need_a_person(step: Cuts | Hangs) -> None:
    """The first caller, its joiner, who comes later and who attaches, here and elsewhere: nothing can end it."""
    async with world() as story:
        story.tool.will(step)
        first = story.a.ask(arrival(policy=DEAF))
        await until(0.01)
        joiner = story.a.ask(arrival(policy=DEAF, patience_s=60))
        assert [can_end(await first), can_end(await joiner)] == [False, False]
        for process in (story.a, story.b):
            assert not can_end(await process.answer(arrival(policy=DEAF)))
            assert not can_end(await attach(process, arrival(policy=DEAF)))


@in_virtual_time
async def test_unknown_that_is_listened_for_may_end_until_its_listener_stops() -> None:
    """While the late reply is awaited all are told so; afterwards nobody is."""
    async with world() as story:
        story.tool.will(Hangs())
        assert can_end(await story.a.answer(arrival(policy=LISTENS)))
        for process in (story.a, story.b):
            assert can_end(await process.answer(arrival(policy=LISTENS)))
            assert can_end(await attach(process, arrival(policy=LISTENS)))
        await until(100)
        for process in (story.a, story.b):
            assert not can_end(await process.answer(arrival(policy=LISTENS)))


@in_virtual_time
async def test_unknown_whose_listener_died_needs_a_person() -> None:
    """Its lease lapses, and with it the hope for a late reply."""
    async with world() as story:
        story.tool.will(Hangs())
        assert can_end(await story.a.answer(arrival(policy=LISTENS)))
        story.a.die()
        await until(40)
        assert not can_end(await story.b.answer(arrival(policy=LISTENS)))


@in_virtual_time
async def test_unknown_that_is_probed_may_end_until_the_probes_do() -> None:
    """Also for the caller whose own reply was lost, and for another call with the same effect, which waits for it."""
    policy = effects("replay", base=replace(PROBED, timeouts=replace(PROBED.timeouts, hold_ms=1_000)))

    def asked(call: str) -> Arrival:
        made = request(call, policy)
        return replace(made, plan=ProbePlan(f"/lookup?ref={made.ref.operation}", PROBE.after_ms))

    async with world() as story:
        lookup = Lookup()
        lookup.fails = True
        for process in (story.a, story.b):
            probing(process, lookup, policy)
        story.tool.will(Cuts())
        assert can_end(await story.a.answer(asked("call_X1")))
        for process in (story.a, story.b):
            assert can_end(await process.answer(asked("call_X1")))
            assert can_end(await process.answer(asked("call_X2")))
        await until(200)
        for process in (story.a, story.b):
            assert not can_end(await process.answer(asked("call_X1")))
            assert not can_end(await process.answer(asked("call_X2")))


@in_virtual_time
async def test_unknown_that_is_sent_again_may_end_until_its_window_does() -> None:
    """A tool that honours our key is asked again, by whoever comes: to ask is what ends it."""
    policy = replace(RESENT, timeouts=replace(RESENT.timeouts, hold_ms=1_000))
    async with world() as story:
        tool = Honouring()
        for process in (story.a, story.b):
            honoured(process, tool)
        tool.usual = Fate.LOST_ON_THE_WAY
        for process in (story.a, story.b):
            assert can_end(await process.answer(resent(policy=policy)))
        await until(WITHIN_MS / 1_000 + 30)
        assert not can_end(await story.b.answer(resent(policy=policy)))


@in_virtual_time
async def test_record_that_cannot_be_read_needs_a_person() -> None:
    """Nobody here can tell what it says, and so nobody here can end it."""
    async with world() as story:
        await story.spoil()
        assert not can_end(await story.a.answer())
        assert not can_end(await attach(story.a, arrival()))
