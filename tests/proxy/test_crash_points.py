"""A fault at the n-th step, for every n: each round trip to the store and each step of the network, in many stories.

Two kinds of fault: the process dies there (before the step, or after it and before it learns what came of it), or the
store fails there (refuses, or does what it was asked and its answer is lost). Afterwards another process takes over and
callers retry. Whatever the step, the tool has acted once at most, nobody hangs, and what may have run is never told as
not executed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ledger.records import Completed, Free, InFlight, Record, Unknown
from policies.model import Retry, Timeouts, ToolPolicy
from proxy.answer import Answer
from tests.proxy.gate import Wrong
from tests.proxy.scripted import Answers, Cuts, Hangs, Refuses, Step
from tests.proxy.virtual import run, until
from tests.proxy.world import POLICY, Process, World, arrival, guarded, outcome, told, world

SLOW = replace(POLICY, timeouts=Timeouts(upstream_ms=40_000, late_ms=40_000))
RETRIES = replace(POLICY, retry=Retry(attempts=3))
CALLER_S = 25.0
"""When a caller gives up on an attempt and sends another."""

TRIES = 4


class Story(Struct, frozen=True):
    """What the tool does with each request, by whose policy. `lapsed`: somebody died with the same call before."""

    steps: tuple[Step, ...]
    policy: ToolPolicy = POLICY
    lapsed: bool = False


STORIES = {
    "a quick reply": Story((Answers(),)),
    "a slow reply, with renewals": Story((Answers(after_s=20),), SLOW),
    "a late reply": Story((Answers(after_s=16),)),
    "no reply ever": Story((Hangs(),), replace(POLICY, timeouts=Timeouts(upstream_ms=10_000, late_ms=6_000))),
    "a reply that is not final": Story((Answers(429),)),
    "a late reply that is not final": Story((Answers(429, after_s=16),)),
    "a reply that settles nothing": Story((Answers(500),)),
    "a lost reply": Story((Cuts(),)),
    "nothing sent at first": Story((Refuses(), Refuses()), RETRIES),
    "nothing sent at all": Story((Refuses(), Refuses(), Refuses()), RETRIES),
    "a call of a dead process": Story((Hangs(acts=True),), lapsed=True),
}


async def caller(process: Process, other: Process, policy: ToolPolicy) -> list[Answer]:
    """Ask, and ask again elsewhere until something came that is no invitation to do so; return all answers."""
    answers = []
    for number in range(TRIES):
        chosen = process if number == 0 else other
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALLER_S):
                answers.append(await guarded(chosen.guard, arrival(policy=policy)))
        if answers and told(answers[-1])[1] in {"", "outcome-unknown", "result-unavailable"}:
            break
        await asyncio.sleep(1)
    return answers


async def prepare(tale: World, story: Story) -> None:
    """Set the tool up, and leave a dead process's call behind if the story wants one."""
    tale.tool.will(*story.steps)
    if not story.lapsed:
        return
    dying = tale.start("dying")
    tale.b.stand_still()
    tale.a.stand_still()
    dying.ask(arrival(policy=story.policy))
    await until(0.5)
    dying.die()
    await until(17)
    tale.b.go_on()


class Told(Struct):
    """What came of a story: the failing process, what its first caller got, and its steps until all were answered."""

    failing: Process
    first: list[Answer]
    steps: list[str]


async def told_by(story: Story, plan: dict[int, Wrong]) -> Told:
    """Play `story` with process c going wrong as planned, a joiner at another, and check the end."""
    async with world() as tale:
        await prepare(tale, story)
        failing = tale.start("c", plan)
        first = asyncio.create_task(caller(failing, tale.b, story.policy))
        await asyncio.sleep(0.02)
        joiner = asyncio.create_task(caller(tale.b, tale.b, story.policy))
        answers = [await first, await joiner]
        steps = failing.gate.steps[:]
        await asyncio.sleep(70)
        await check(tale, failing, answers[0] + answers[1], story)
        return Told(failing, answers[0], steps)


async def check(tale: World, failing: Process, answers: list[Answer], story: Story) -> None:
    """Hold the end against the invariants."""
    acted = tale.tool.executed
    assert acted <= 1  # I1
    record = await tale.record()
    assert not isinstance(record, InFlight)  # I6
    if acted:
        assert isinstance(record, Completed | Unknown)  # I5
    after = await tale.b.answer(arrival(policy=story.policy))
    if acted:
        assert outcome(after) in {"replayed", "unknown"}
    assert tale.tool.executed <= 1
    same = {answer.body for answer in answers if answer.status == 200}
    if same and outcome(after) == "replayed":
        assert same == {after.body}  # I2
    for answer in answers:
        if outcome(answer) == "not-executed" and acted:
            assert told(answer)[0] == 429 or answer.problem == "not-sent"
    if failing.gate.died.is_set() or not any(isinstance(wrong, Wrong) for wrong in failing.gate.plan.values()):
        return
    if same and not failing.gate.died.is_set():
        assert isinstance(record, Completed), "a known result never reached the store"  # I2


def steps_of(story: Story) -> list[str]:
    """Return the steps that process c takes while nothing goes wrong."""
    return run(told_by(story, {})).steps


@contextlib.contextmanager
def at(number: int, name: str, wrong: Wrong) -> Iterator[None]:
    """Say where it was, if it fails."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"step {number} ({name}): {wrong.value}")
        raise


@pytest.mark.fault(55)
@pytest.mark.parametrize("wrong", [Wrong.DIES_BEFORE, Wrong.DIES_AFTER])
@pytest.mark.parametrize("name", STORIES)
def test_process_that_dies_at_any_step_never_runs_a_call_twice(name: str, wrong: Wrong) -> None:
    """Whoever takes over replays, says unknown, or forwards what provably was not sent."""
    story = STORIES[name]
    for number, step in enumerate(steps_of(story), 1):
        with at(number, step, wrong):
            run(told_by(story, {number: wrong}))


@pytest.mark.fault(34, 35, 36, 37)
@pytest.mark.parametrize("wrong", [Wrong.FAILS_BEFORE, Wrong.FAILS_AFTER])
@pytest.mark.parametrize("name", STORIES)
def test_store_that_fails_at_any_step_never_runs_a_call_twice(name: str, wrong: Wrong) -> None:
    """Callers get their answers, and what is known reaches the store in the end."""
    story = STORIES[name]
    for number, step in enumerate(steps_of(story), 1):
        with at(number, step, wrong):
            came = run(told_by(story, {number: wrong}))
            assert came.first, "the caller got no answer at all"
            assert len(came.failing.works.outbox) == 0


@pytest.mark.fault(34, 35)
@pytest.mark.parametrize("policy", ["refuse", "forward"])
@pytest.mark.parametrize("length", [3, 12])
@pytest.mark.parametrize(
    "name", ["a quick reply", "a late reply", "a reply that is not final", "a call of a dead process"]
)
def test_store_that_is_away_from_any_step_on_is_survived(name: str, length: int, policy: str) -> None:
    """An outage of some steps, wherever it begins; with `storeDown: forward` too, as long as nobody else forwards."""
    story = STORIES[name]
    story = replace(story, policy=replace(story.policy, store_down="forward" if policy == "forward" else "refuse"))
    for number, step in enumerate(steps_of(story), 1):
        if story.lapsed and policy == "forward" and number <= 2:
            continue  # a retry knows nothing then, and the policy says to forward in spite of that
        with at(number, step, Wrong.FAILS_BEFORE):
            plan = dict.fromkeys(range(number, number + length), Wrong.FAILS_BEFORE)
            if policy == "forward" and number <= 2:
                run(unprotected(story, plan))
            else:
                run(told_by(story, plan))


async def unprotected(story: Story, plan: dict[int, Wrong]) -> None:
    """Play `story` alone on a process that forwards without a claim: nobody else is there to do it as well."""
    async with world() as tale:
        await prepare(tale, story)
        failing = tale.start("c", plan)
        await caller(failing, failing, story.policy)
        await asyncio.sleep(100)
        assert tale.tool.executed <= 1
        record: Record | None = await tale.record()
        assert isinstance(record, Completed | Unknown | Free)


@pytest.mark.fault(55)
@pytest.mark.parametrize("name", STORIES)
def test_lost_wakeups_only_cost_time(name: str) -> None:
    """Every other process is deaf to the store's wake-ups: polling finds out, with the same end."""

    async def deaf() -> None:
        async with world() as tale:
            await prepare(tale, STORIES[name])
            tale.b.view.deaf = True
            policy = STORIES[name].policy
            answers = await asyncio.gather(caller(tale.a, tale.a, policy), caller(tale.b, tale.b, policy))
            await asyncio.sleep(100)
            await check(tale, tale.a, answers[0] + answers[1], STORIES[name])

    run(deaf())
