"""A fault at the n-th step, for every n, of two calls with one effect: of the first one's process, and of the second's.

The process dies there, or the store fails there. Afterwards both callers retry elsewhere. Whatever the step, the tool
has acted once at most under either id, nobody hangs, and nobody is told that nothing happened when it may have.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from msgspec import Struct

from ledger.records import Alias, Completed, InFlight, Unknown
from policies.model import ToolPolicy
from proxy.answer import Answer
from proxy.arrival import Arrival
from tests.proxy.gate import Wrong
from tests.proxy.regenerated import effects, request
from tests.proxy.scripted import Answers, Cuts, Refuses, Step
from tests.proxy.test_crash_points import CALLER_S, TRIES, at
from tests.proxy.virtual import run
from tests.proxy.world import Process, World, guarded, outcome, told, world

REPLAY, REFUSE, HOLD, OBSERVE = (effects(then, window_s=3_600) for then in ("replay", "refuse", "hold", "observe"))
"""The window outlasts every story."""

X1, X2 = "call_X1", "call_X2"
SETTLED = {"", "outcome-unknown", "result-unavailable", "effect-duplicate"}


class Story(Struct, frozen=True):
    """What the tool does, by whose policy, and whose process goes wrong: the first call's or the second's."""

    steps: tuple[Step, ...]
    policy: ToolPolicy = REPLAY
    failing: str = X2


SLOWLY = (Answers(after_s=2),)
STORIES = {
    "the first is in flight": Story(SLOWLY),
    "the first's process": Story(SLOWLY, failing=X1),
    "the first is done": Story((Answers(after_s=0),)),
    "the first was never sent": Story((Refuses(after_s=2), Answers())),
    "the first was never sent, its process": Story((Refuses(after_s=2), Answers()), failing=X1),
    "the first was refused by the tool": Story((Answers(429, after_s=2), Answers())),
    "the first was lost": Story((Cuts(after_s=2),)),
    "the first is late": Story((Answers(after_s=16),)),
    "the first is late, its process": Story((Answers(after_s=16),), failing=X1),
    "refused": Story(SLOWLY, REFUSE),
    "refused, the first's process": Story(SLOWLY, REFUSE, X1),
    "refused, and the first was never sent": Story((Refuses(after_s=2), Answers()), REFUSE),
}
"""Whatever goes wrong, these act once."""

TWICE = {
    "held": Story(SLOWLY, HOLD),
    "held, the first's process": Story(SLOWLY, HOLD, X1),
    "observed": Story(SLOWLY, OBSERVE),
}
"""These let the second call through, once."""


async def caller(first: Process, then: Process, asked: Arrival) -> list[Answer]:
    """Ask, and elsewhere again until something came that is no invitation to do so."""
    answers: list[Answer] = []
    for number in range(TRIES):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALLER_S):
                answers.append(await guarded((then if number else first).guard, asked))
        if answers and told(answers[-1])[1] in SETTLED:
            break
        await asyncio.sleep(1)
    return answers


async def played(story: Story, plan: dict[int, Wrong]) -> list[str]:
    """Play `story` with process c going wrong as planned; return its steps until both were answered."""
    async with world() as tale:
        tale.tool.will(*story.steps)
        failing = tale.start("c", plan)
        calls = [request(X1, story.policy), request(X2, story.policy)]
        ways = [(failing, tale.b), (tale.a, tale.b)] if story.failing == X1 else [(tale.a, tale.b), (failing, tale.b)]
        watching = asyncio.create_task(one_at_a_time(tale)) if story.policy is HOLD else None
        first = asyncio.create_task(caller(*ways[0], calls[0]))
        await asyncio.sleep(0.3)
        second = asyncio.create_task(caller(*ways[1], calls[1]))
        answers = [await first, await second]
        steps = failing.gate.steps[:]
        await asyncio.sleep(70)
        await check(tale, story, calls, answers)
        if watching is not None:
            assert not watching.done(), "two were with the tool at once"
            watching.cancel()
        return steps


async def one_at_a_time(tale: World) -> None:
    """End as soon as the tool has two requests that have not come to an end; those of the dead have none."""
    while True:
        if sum(not attempt.ended for attempt in tale.tool.attempts) > 1:
            return
        await asyncio.sleep(0.05)


async def check(tale: World, story: Story, calls: list[Arrival], answers: list[list[Answer]]) -> None:
    """Hold the end against what is promised."""
    acted = tale.tool.executions
    assert max(acted.values(), default=0) <= 1  # I1
    if story.policy in (REPLAY, REFUSE):
        assert acted.total() <= 1
    for asked, got in zip(calls, answers, strict=True):
        record = await tale.record(asked)
        assert not isinstance(record, InFlight)  # I6
        if acted[asked.ref.operation]:
            assert isinstance(record, Completed | Unknown)  # I5
        if isinstance(record, Alias):
            assert not acted[asked.ref.operation]
        for answer in got:
            if answer.problem == "" and outcome(answer) in {"joined", "replayed"}:
                assert acted.total()
            if outcome(answer) == "not-executed":  # of this attempt: nothing was sent, or the tool said so
                assert answer.status == 429 or answer.problem == "not-sent"
            if answer.problem == "effect-duplicate":  # names who has it, and that is not itself
                assert answer.effect_of == next(one.ref.operation for one in calls if one is not asked)
    bodies = {answer.body for got in answers for answer in got if answer.status == 200}
    if story.policy is REPLAY:
        assert len(bodies) <= 1  # I2
    before = acted.total()
    late = [await tale.b.answer(asked) for asked in calls]
    assert tale.tool.executions.total() <= max(1, before) or story.policy in (HOLD, OBSERVE)
    assert max(tale.tool.executions.values(), default=0) <= 1
    if story.policy is REPLAY and bodies:
        assert {answer.body for answer in late if answer.status == 200} <= bodies
    # What is free or an alias holds no effect: a third call gets through unless something is unknown or has happened.
    records = [await tale.record(asked) for asked in calls]
    third = await tale.b.answer(request("call_X3", story.policy, patience_s=5))
    assert told(third)[1] == "" or any(isinstance(record, Unknown | Completed) for record in records)


def every_step(story: Story, wrong: Wrong) -> None:
    """Play `story` once for each of its steps, with that one going wrong."""
    for number, step in enumerate(run(played(story, {})), 1):
        with at(number, step, wrong):
            run(played(story, {number: wrong}))


@pytest.mark.fault(55)
@pytest.mark.parametrize("wrong", [Wrong.DIES_BEFORE, Wrong.DIES_AFTER])
@pytest.mark.parametrize("name", STORIES | TWICE)
def test_process_that_dies_at_any_step_never_has_an_effect_twice(name: str, wrong: Wrong) -> None:
    """Whoever comes after it replays, says unknown, or forwards what provably was not sent."""
    every_step((STORIES | TWICE)[name], wrong)


@pytest.mark.fault(34, 35, 36, 37)
@pytest.mark.parametrize("wrong", [Wrong.FAILS_BEFORE, Wrong.FAILS_AFTER])
@pytest.mark.parametrize("name", STORIES | TWICE)
def test_store_that_fails_at_any_step_never_lets_an_effect_happen_twice(name: str, wrong: Wrong) -> None:
    """A claim, an alias or a settlement that was refused, or done without our hearing of it."""
    every_step((STORIES | TWICE)[name], wrong)
