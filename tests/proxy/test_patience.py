"""The answer comes before the caller's patience ends, whatever it waits for (contract, section 1): one story a path."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from policies.model import ToolPolicy
from proxy.arrival import Arrival
from tests.proxy.house import House
from tests.proxy.lookup import Lookup, probed, probing
from tests.proxy.regenerated import HOLD, REFUSE, REPLAY, request
from tests.proxy.scripted import Answers, Cuts, Hangs
from tests.proxy.tools import Gate, waits
from tests.proxy.virtual import in_virtual_time, now, until
from tests.proxy.world import Process, arrival, told, world

PATIENCE_S = 0.5
SLACK_S = 0.001
SLOW_S = [0.3, 0.9, 4.0]
"""A store that answers just in time, after the patience, and after its own deadline."""


async def in_time(process: Process, asked: Arrival, *expected: str) -> None:
    """Ask with a patience, then as one who takes a 202; the answer must come in time and say one of these."""
    for deferrable in (False, True):
        start = now()
        given = await process.answer(replace(asked, patience_ms=round(PATIENCE_S * 1_000), deferrable=deferrable))
        assert now() - start <= PATIENCE_S + SLACK_S
        assert (given.problem or given.outcome) in {*expected, *(["unknown"] if deferrable else [])}
        assert given.status < 500 or given.problem == "store-unavailable"
        assert (given.status == 202) <= deferrable


@pytest.mark.parametrize("pause_s", SLOW_S)
@in_virtual_time
async def test_claim_that_is_slow_holds_nobody_beyond_its_patience(pause_s: float) -> None:
    """The store takes its time over the claim; the call goes on without its caller."""
    async with world() as story:
        story.a.view.pause_s = pause_s
        story.tool.usual = Answers(after_s=1)
        await in_time(story.a, arrival(), "in-flight")
        story.a.view.pause_s = 0.0005
        await until(20)
        assert told(await story.b.answer())[2] == "replayed"
        assert story.tool.executed == 1


@pytest.mark.parametrize("pause_s", SLOW_S)
@in_virtual_time
async def test_joiner_elsewhere_is_answered_in_time_however_slow_its_store(pause_s: float) -> None:
    """Another replica works on it; what this one's store says of that comes late or not at all."""
    async with world() as story:
        story.tool.will(Answers(after_s=9))
        first = story.a.ask()
        await until(0.1)
        story.b.view.pause_s = pause_s
        await in_time(story.b, arrival(), "in-flight", "store-unavailable")
        assert told(await first)[2] == "executed"
        story.b.view.pause_s = 0.0005


@pytest.mark.parametrize("lost", [True, False])
@in_virtual_time
async def test_probe_that_is_awaited_holds_nobody_beyond_its_patience(lost: bool) -> None:
    """The tool is being asked what became of it; callers are told that nobody knows yet."""
    async with world() as story:
        for process in (story.a, story.b):
            probing(process, Lookup())
        story.tool.will(Cuts(acts=True) if lost else Hangs())
        await story.a.answer(probed())
        for process in (story.a, story.b):
            await in_time(process, probed(), "outcome-unknown")


@pytest.mark.parametrize("policy", [HOLD, REPLAY, REFUSE], ids=["hold", "replay", "refuse"])
@pytest.mark.parametrize("end", [Answers(after_s=8), Cuts()], ids=["in flight", "unknown"])
@in_virtual_time
async def test_effect_that_is_held_holds_nobody_beyond_their_patience(policy: ToolPolicy, end: Answers | Cuts) -> None:
    """Another call has the effect; whatever the policy says of that is said in time, on each replica."""
    async with world() as story:
        story.tool.will(end)
        first = story.a.ask(request("call_X1", policy))
        await until(0.1)
        for process in (story.a, story.b):
            asked = request("call_X2", policy)
            await in_time(process, asked, "in-flight", "outcome-unknown", "effect-duplicate")
        await first


@pytest.mark.parametrize("pause_s", SLOW_S)
@in_virtual_time
async def test_effect_looked_up_in_a_slow_store_holds_nobody_beyond_their_patience(pause_s: float) -> None:
    """Both at once: the claim that meets the effect is slow, and so is every look at its holder."""
    async with world() as story:
        story.tool.will(Answers(after_s=9))
        first = story.a.ask(request("call_X1", HOLD))
        await until(0.1)
        story.b.view.pause_s = pause_s
        await in_time(story.b, request("call_X2", HOLD), "in-flight", "store-unavailable")
        story.b.view.pause_s = 0.0005
        await first


@pytest.mark.parametrize("prefer", ["wait=1", "respond-async, wait=1"])
def test_answer_is_there_before_the_patience_is_over(house: House, prefer: str) -> None:
    """Over HTTP, first callers and joiners alike: 0.2 s before, and that it is no later is for a machine that has time,
    or virtual time, to say. The policy would hold them for a minute."""
    run, gate = house.run(), Gate()
    for script in (waits(gate), None):
        start = time.monotonic()
        answer = house.ask(run, ("Prefer", prefer), script=script)
        assert 0.7 < time.monotonic() - start < 30
        assert (answer.status, answer.problem) == ((202, "") if "async" in prefer else (409, "in-flight"))
    gate.open()
