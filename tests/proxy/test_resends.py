"""Resends: what may have run is sent again to a tool that honours our key, and has run once in the end."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from msgspec.structs import replace

from ledger.decisions import may_resend
from ledger.records import Completed, InFlight, Unknown
from policies.model import FingerprintRules, Retry, Selector, UnknownRules
from tests.proxy.gate import Wrong
from tests.proxy.honouring import RESENT, WITHIN_MS, Fate, Honouring, honoured, resent
from tests.proxy.virtual import in_virtual_time, now, run, settled, until
from tests.proxy.world import World, told, world

RETRIED = replace(
    RESENT, retry=Retry(attempts=3, on=("not-sent", "lost", "5xx"), backoff_base_ms=200, backoff_max_ms=2_000),
    unknown=UnknownRules(),
)  # fmt: skip
IMPATIENT = replace(RESENT, timeouts=replace(RESENT.timeouts, upstream_ms=1_000))
LOSSES = [fate for fate in Fate if fate not in {Fate.FINE, Fate.REFUSED}]


def ready(story: World) -> Honouring:
    """Let both processes of a story send to one tool that honours keys."""
    tool = Honouring()
    honoured(story.a, tool)
    honoured(story.b, tool)
    return tool


async def once(story: World, tool: Honouring) -> Completed:
    """Check that the call has been executed once, and that everybody is told so; return its record."""
    record = await story.record(resent())
    assert isinstance(record, Completed)
    assert list(tool.executions.values()) == [1]
    for process in (story.a, story.b):
        if not process.gate.died.is_set():
            assert (await process.answer(resent())).status == 201
    assert set(tool.keys) == {resent().ref.operation}
    return record


@pytest.mark.parametrize("fate", LOSSES)
@in_virtual_time
async def test_first_caller_gets_the_answer_of_a_resend(fate: Fate) -> None:
    """Whatever was lost: the same key is sent again, and the caller who waits is given what comes of it."""
    async with world() as story:
        tool = ready(story)
        tool.fates.append(fate)
        first, second = story.a.ask(resent()), story.a.ask(resent())
        await until(0.2)
        elsewhere = story.b.ask(resent())
        assert [(await one).status for one in (first, second, elsewhere)] == [201, 201, 201]
        assert (await first).outcome == "executed"
        assert now() < (11 if fate is Fate.SILENT else 2)
        record = await once(story, tool)
        assert [line.what for line in record.history].count("resent") == 1
        assert story.a.count("holdfast_resends_total", tool="create_ticket") == 1


@in_virtual_time
async def test_409_to_a_resend_means_still_running_and_is_never_an_answer() -> None:
    """The tool is at work on the first attempt for a while: nobody is told 409, and nothing is free."""
    async with world() as story:
        tool = ready(story)
        tool.works_s = 8.0
        tool.fates.append(Fate.LOST_ON_THE_WAY)
        tool.fates.append(Fate.SILENT)
        given = await story.a.answer(replace(resent(), policy=replace(RESENT, timeouts=replace(RESENT.timeouts,
            upstream_ms=1_000))))  # fmt: skip
        assert given.status == 201
        assert len(tool.at) > 4
        await once(story, tool)


@pytest.mark.parametrize(
    ("told", "gap_s"), [(b"1", 1.0), (b"3600", 2.0), (b"Fri, 27 Nov 2026 12:00:00 GMT", 0.15), (b"-1", 0.15)]
)
@pytest.mark.parametrize("fate", [Fate.BROKEN, Fate.LOST_ON_THE_WAY_BACK])
@in_virtual_time
async def test_tool_that_asks_for_time_is_given_it_up_to_the_longest_back_off(
    fate: Fate, told: bytes, gap_s: float
) -> None:
    """`Retry-After` of a 502, or of a 409 that means *still running*; a date would compare clocks, and is not
    heeded."""
    async with world() as story:
        tool = ready(story)
        tool.headers = (*tool.headers, (b"retry-after", told))
        tool.works_s = 30.0
        tool.fates.extend([fate, Fate.BROKEN])
        asked = story.a.ask(resent(policy=IMPATIENT))
        await until(29)
        gaps = [after - before for before, after in itertools.pairwise(tool.at)]
        first = 1 if fate is Fate.LOST_ON_THE_WAY_BACK else 0  # that one's loss said nothing
        assert gap_s <= gaps[first] < gap_s + 0.5
        await asked
        await until(60)
        await once(story, tool)


@pytest.mark.parametrize("status", [409, 425, 429, 401, 403])
@in_virtual_time
async def test_reply_that_frees_a_first_attempt_frees_no_resend(status: int) -> None:
    """What the second attempt's gate-keeper says about the second attempt says nothing about the first."""
    async with world() as story:
        tool = ready(story)
        tool.fates.append(Fate.LOST_ON_THE_WAY_BACK)
        tool.status = status
        asked = story.a.ask(resent())
        await until(5)
        assert isinstance(await story.record(resent()), Unknown | InFlight)
        tool.status = 201
        assert (await asked).status == 201
        await once(story, tool)


@in_virtual_time
async def test_attempt_that_cannot_be_sent_again_is_unknown_and_not_free() -> None:
    """Not sent is said of the last try; the first one may have run (I5)."""
    async with world() as story:
        tool = ready(story)
        tool.fates.append(Fate.LOST_ON_THE_WAY_BACK)
        tool.usual = Fate.REFUSED
        first, joined = story.a.ask(resent()), story.a.ask(resent())
        assert told(await first) == (502, "outcome-unknown", "unknown")
        assert told(await joined)[1] == "outcome-unknown"
        assert now() == pytest.approx(30, abs=0.5)
        await until(50)
        tool.usual = Fate.FINE
        assert (await story.b.answer(resent())).status == 201
        await once(story, tool)


@in_virtual_time
async def test_resends_go_on_after_everybody_has_been_answered() -> None:
    """The owner goes on until it knows, with longer pauses, and a later caller is replayed the result."""
    async with world() as story:
        tool = ready(story)
        tool.usual = Fate.LOST_ON_THE_WAY
        assert told(await story.a.answer(resent())) == (502, "outcome-unknown", "unknown")
        await until(40)
        present = await story.store.read(resent().ref)
        assert present is not None
        assert present.lease_left_ms is None  # between two resends it is unknown, and nobody's
        tool.usual = Fate.FINE
        await until(95)
        record = await once(story, tool)
        assert record.late
        pauses = [later - sooner for sooner, later in itertools.pairwise(tool.at)]
        assert pauses[:3] == [pytest.approx(pause, abs=0.05) for pause in (0.15, 0.3, 0.6)]


@pytest.mark.parametrize(("left_ms", "allowed"), [(1, True), (0, False), (-1, False)])
def test_window_is_open_to_its_last_millisecond_and_no_longer(left_ms: int, allowed: bool) -> None:
    """After it the tool may have forgotten the key: a resend would be another execution."""
    record = Unknown(
        operation="op_1", fingerprint="f", call=resent().call, created_ms=1_000, attempt=1, tokens=("t",),
        since_ms=2_000, why="lost",
    )  # fmt: skip
    assert may_resend(record, WITHIN_MS, 1_000 + WITHIN_MS - left_ms) is allowed


@in_virtual_time
async def test_nothing_is_sent_after_the_window() -> None:
    """It stays unknown, and whoever comes is told so at once."""
    async with world() as story:
        tool = ready(story)
        tool.usual = Fate.LOST_ON_THE_WAY
        await story.a.answer(resent())
        await until(WITHIN_MS / 1_000 + 0.1)
        sent = len(tool.at)
        assert tool.at[-1] <= WITHIN_MS / 1_000
        before = now()
        for process in (story.a, story.b):
            assert told(await process.answer(resent())) == (409, "outcome-unknown", "unknown")
        assert now() - before < 0.1
        await until(300)
        assert len(tool.at) == sent


@pytest.mark.fault(55)
@in_virtual_time
async def test_arrival_sends_again_what_a_dead_process_had_sent() -> None:
    """kill -9 after the whole request: when its lease has lapsed, who asks brings the same request."""
    async with world() as story:
        tool = ready(story)
        tool.fates.append(Fate.SILENT)
        story.a.ask(resent())
        await until(1)
        story.a.die()
        given = await story.b.answer(resent())
        assert given.status == 201
        assert now() < 15 + 5 + 2
        record = await once(story, tool)
        assert record.attempt == 2


@in_virtual_time
async def test_arrival_that_may_bring_other_bytes_sends_nothing_again() -> None:
    """Where the policy ignores part of the body, the tool could take another body under the same key for misuse."""
    policy = replace(RESENT, fingerprint=FingerprintRules(ignore=(Selector("body", "/sent_at"),)))
    async with world() as story:
        tool = ready(story)
        tool.fates.append(Fate.SILENT)
        story.a.ask(resent(policy=policy))
        await until(1)
        story.a.die()
        assert told(await story.b.answer(resent(policy=policy)))[1] == "outcome-unknown"
        assert len(tool.at) == 1


@in_virtual_time
async def test_two_replicas_take_turns() -> None:
    """An unknown call that both are asked for is sent by one at a time, with pauses that grow."""
    async with world() as story:
        tool = ready(story)
        tool.usual = Fate.LOST_ON_THE_WAY
        callers = [process.ask(resent()) for process in (story.a, story.b) for _ in range(3)]
        await until(20)
        assert 10 < len(tool.at) < 20
        tool.usual = Fate.FINE
        answers = [await one for one in callers]
        assert {given.status for given in answers} == {201}
        await once(story, tool)


@in_virtual_time
async def test_first_caller_is_answered_by_the_resend_of_another_replica() -> None:
    """The store is away for its own process, and another one's arrival sends again: it gets that result."""
    async with world() as story:
        tool = ready(story)
        tool.works_s = 3.0
        tool.fates.append(Fate.LOST_ON_THE_WAY)
        first = story.a.ask(resent())
        await until(0.1)
        story.a.gate.outage = True
        elsewhere = story.b.ask(resent())
        await until(1.5)
        story.a.gate.outage = False
        assert {(await first).status, (await elsewhere).status} == {201}
        assert story.a.count("holdfast_resends_total", tool="create_ticket") == 0
        await once(story, tool)


@pytest.mark.fault(57)
@in_virtual_time
async def test_frozen_owner_and_a_resend_elsewhere_agree() -> None:
    """SIGSTOP past the lease: another replica sends again; the first attempt's late reply is the same call's."""
    async with world() as story:
        tool = ready(story)
        tool.works_s = 30.0
        slow = replace(RESENT, timeouts=replace(RESENT.timeouts, upstream_ms=60_000))
        first = story.a.ask(resent(policy=slow))
        await until(1)
        story.a.stand_still()
        await until(21)
        second = story.b.ask(resent(policy=slow))
        await until(25)
        assert not second.done()
        story.a.go_on()
        assert {(await first).status, (await second).status} == {201}
        await settled()
        await once(story, tool)
        assert story.a.count("holdfast_late_conflicts_total", tool="create_ticket") == 0


@pytest.mark.parametrize("fate", LOSSES)
@in_virtual_time
async def test_retry_within_the_claim_where_the_policy_names_it(fate: Fate) -> None:
    """`retry.on: [lost, 5xx]`: the same attempt is sent again at once, without a word to the ledger."""
    async with world() as story:
        tool = ready(story)
        tool.fates.append(fate)
        given = await story.a.answer(resent(policy=RETRIED))
        if fate is Fate.SILENT:
            assert told(given) == (504, "outcome-unknown", "unknown")
            return
        assert (given.status, given.outcome) == (201, "executed")
        record = await once(story, tool)
        assert record.attempt == 1


@in_virtual_time
async def test_retries_that_are_used_up_leave_it_unknown_whatever_the_last_one_says() -> None:
    """Lost, then not sent: it may have run (I5)."""
    async with world() as story:
        tool = ready(story)
        tool.fates.extend([Fate.LOST_ON_THE_WAY_BACK, Fate.REFUSED, Fate.REFUSED])
        assert told(await story.a.answer(resent(policy=RETRIED))) == (502, "outcome-unknown", "unknown")
        assert isinstance(await story.record(resent()), Unknown)


@in_virtual_time
async def test_tool_that_honours_no_key_is_never_sent_anything_twice() -> None:
    """Whatever the rest of a policy says: without a place for the key there are no retries and no resends."""
    policy = replace(RETRIED, upstream=replace(RETRIED.upstream, idempotency=None), unknown=RESENT.unknown)
    async with world() as story:
        tool = ready(story)
        tool.fates.append(Fate.LOST_ON_THE_WAY)
        assert told(await story.a.answer(resent(policy=policy))) == (502, "outcome-unknown", "unknown")
        assert told(await story.b.answer(resent(policy=policy))) == (409, "outcome-unknown", "unknown")
        assert len(tool.at) == 1


STEPS = 30
"""More than the way of one call has, resends included; what follows are sweeps."""


async def crash_story(wrong: Wrong, step: int, fate: Fate) -> bool:
    """Play one call with a loss and what goes wrong at one step; say whether that step was reached."""
    async with world() as story:
        tool = ready(story)
        tool.fates.append(fate)
        doomed = honoured(story.start("doomed", {step: wrong}), tool)
        asked = doomed.ask(resent())
        await until(70)
        if not doomed.gate.died.is_set():
            assert asked.done()
        given = await story.b.answer(resent())
        assert given.status == 201
        assert list(tool.executions.values()) == [1]
        assert isinstance(await story.record(resent()), Completed)
        return len(doomed.gate.steps) >= step


@pytest.mark.fault(35, 36, 37, 55)
@pytest.mark.parametrize("fate", [Fate.LOST_ON_THE_WAY, Fate.LOST_ON_THE_WAY_BACK, Fate.BROKEN_AFTER])
@pytest.mark.parametrize("wrong", list(Wrong))
def test_crash_or_store_failure_at_any_step_of_a_resend_executes_once(wrong: Wrong, fate: Fate) -> None:
    """For every step of the process's way: it dies there, or the store does not answer, and the call has run once."""
    for step in itertools.count(1):
        if not run(crash_story(wrong, step, fate)) or step >= STEPS:
            break
    assert step > 8


@in_virtual_time
async def test_process_that_is_told_to_stop_sends_nothing_again() -> None:
    """Who waits is told that nobody knows; the next process may go on."""
    async with world() as story:
        tool = ready(story)
        tool.usual = Fate.LOST_ON_THE_WAY
        asked = story.a.ask(resent())
        await until(10)
        story.a.works.stopping = True
        assert told(await asked)[1] == "outcome-unknown"
        sent = len(tool.at)
        await until(20)
        assert len(tool.at) == sent
        tool.usual = Fate.FINE
        assert (await story.b.answer(resent())).status == 201


@in_virtual_time
async def test_process_that_gives_up_while_it_pauses_answers_its_callers() -> None:
    """The end of the grace does not wait for the end of a pause."""
    async with world() as story:
        tool = ready(story)
        tool.usual = Fate.LOST_ON_THE_WAY
        callers = [story.a.ask(resent()) for _ in range(2)]
        await until(10)
        for one in story.a.works.everyone():
            one.give_up("the proxy stopped", "shutdown")
        story.a.works.stopping = True
        await asyncio.sleep(0.01)
        assert {told(await one)[2] for one in callers} <= {"unknown", "refused"}
