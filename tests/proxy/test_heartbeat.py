"""A store that forgets: noticed within a second, told to every process, and over by time or by an operator's word."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from policies.model import MINUTE_MS
from proxy.heartbeat import NOT_ASKED, PERIOD_S, REFUSE_MS_MIN, Heartbeat
from tests.proxy.scripted import Answers
from tests.proxy.virtual import in_virtual_time, settled
from tests.proxy.world import POLICY, Process, World, arrival, field, told, world

EXECUTED = (200, "", "executed")
REFUSED = (503, "store-unavailable", "refused")


def beating(process: Process, name: str, longest_upstream_ms: int = 0) -> tuple[Heartbeat, asyncio.Task[None]]:
    """Give a process of the world its heartbeat."""
    heartbeat = Heartbeat(process.works, name, lambda: longest_upstream_ms)
    return heartbeat, asyncio.get_running_loop().create_task(heartbeat.run())


async def both_beating(now: World) -> tuple[Heartbeat, Heartbeat]:
    """Let both processes beat; return when each has been acknowledged."""
    beats = [beating(process, name)[0] for process, name in ((now.a, "p-a"), (now.b, "p-b"))]
    await asyncio.sleep(3 * PERIOD_S)
    return beats[0], beats[1]


def wipe(now: World) -> None:
    """FLUSHALL."""
    now.store.wipe()  # type: ignore[attr-defined]  # the memory store's


@pytest.mark.fault(45)
@in_virtual_time
async def test_flush_is_noticed_by_every_process_and_writes_are_refused_for_a_quarter_of_an_hour() -> None:
    """Nobody forwards until what the store forgot cannot be running any more; who asks is told what to do."""
    async with world() as now:
        await both_beating(now)
        now.tool.will(Answers())
        assert told(await now.a.answer()) == EXECUTED
        wipe(now)
        await asyncio.sleep(2 * PERIOD_S)
        for process in (now.a, now.b):
            answer = await process.answer()
            assert told(answer) == REFUSED
            assert "accept-store-loss" in json.loads(answer.body)["detail"]
            assert field(answer, "Retry-After") == "30"  # it does not pass by itself soon
            assert process.count("holdfast_store_memory_lost") == 1
            assert len(process.events("store.memory-lost")) == 1
        await asyncio.sleep(REFUSE_MS_MIN / 1_000 - 60)
        assert told(await now.b.answer(arrival("call_2"))) == REFUSED
        await asyncio.sleep(62)
        assert told(await now.b.answer(arrival("call_2"))) == EXECUTED
        for process in (now.a, now.b):
            assert process.count("holdfast_store_memory_lost") == 0
            assert len(process.events("store.memory-lost")) == 1
            assert len(process.events("store.memory-loss-over")) == 1


@pytest.mark.fault(45)
@in_virtual_time
async def test_operator_that_accepts_ends_the_refusal_on_every_process() -> None:
    """At once where it was said, with the next heartbeat elsewhere."""
    async with world() as now:
        one, _ = await both_beating(now)
        wipe(now)
        await asyncio.sleep(2 * PERIOD_S)
        assert told(await now.a.answer()) == REFUSED
        assert await one.accept() > REFUSE_MS_MIN - 10_000
        assert told(await now.a.answer()) == EXECUTED
        await asyncio.sleep(PERIOD_S)
        assert told(await now.b.answer(arrival("call_2"))) == EXECUTED


@pytest.mark.fault(45)
@in_virtual_time
async def test_process_that_starts_sees_the_refusal_that_stands_before_it_claims() -> None:
    """It claims nothing before its first heartbeat, and that one tells it."""
    async with world() as now:
        await both_beating(now)
        wipe(now)
        await asyncio.sleep(2 * PERIOD_S)
        fresh = now.start("c")
        heartbeat = Heartbeat(fresh.works, "p-c", lambda: 0)
        answer = await fresh.answer()
        assert told(answer) == REFUSED
        assert json.loads(answer.body)["detail"] == NOT_ASKED
        heartbeat.not_reached("connection refused")
        assert json.loads((await fresh.answer()).body)["detail"] == f"{NOT_ASKED}: connection refused"
        await heartbeat.beat()
        answer = await fresh.answer()
        assert told(answer) == REFUSED
        assert "lost memory" in json.loads(answer.body)["detail"]


@pytest.mark.fault(45)
@in_virtual_time
async def test_refusal_lasts_as_long_as_the_slowest_tool_may_take() -> None:
    """Fifteen minutes are the least."""
    async with world() as now:
        beating(now.a, "p-a", longest_upstream_ms=40 * MINUTE_MS)
        await asyncio.sleep(2.5 * PERIOD_S)
        wipe(now)
        await asyncio.sleep(39 * 60)
        assert told(await now.a.answer()) == REFUSED
        await asyncio.sleep(62)
        assert told(await now.a.answer()) == EXECUTED


@pytest.mark.fault(45)
@in_virtual_time
async def test_results_kept_near_are_given_up_with_the_stores_memory() -> None:
    """What came back may be older than they are, and something else may be found out or ruled about it."""
    async with world() as now:
        await both_beating(now)
        assert told(await now.a.answer()) == EXECUTED
        assert now.a.works.replays.get(arrival().ref.operation) is not None
        wipe(now)
        await asyncio.sleep(2 * PERIOD_S)
        assert now.a.works.replays.get(arrival().ref.operation) is None


@pytest.mark.fault(34, 45, 46)
@in_virtual_time
async def test_store_that_is_away_is_no_lost_memory_however_often_it_comes_and_goes() -> None:
    """A heartbeat that fails, or whose answer is lost, was perhaps counted; both are fine."""
    async with world() as now:
        await both_beating(now)
        for _ in range(5):
            now.a.gate.outage = True
            await asyncio.sleep(7.3 * PERIOD_S)
            now.a.gate.outage = False
            await asyncio.sleep(1.7 * PERIOD_S)
        assert told(await now.a.answer()) == EXECUTED
        assert now.a.events("store.memory-lost") == []


@pytest.mark.fault(45)
@in_virtual_time
async def test_policy_that_forwards_without_a_store_is_not_held_up_by_a_store_that_forgot() -> None:
    """`storeDown: forward` would rather run twice than not at all; its calls are claimed in the store as it is now."""
    async with world() as now:
        await both_beating(now)
        wipe(now)
        await asyncio.sleep(2 * PERIOD_S)
        assert told(await now.a.answer(arrival(policy=replace(POLICY, store_down="forward")))) == EXECUTED
        assert now.a.count("holdfast_unprotected_total", tool="create_ticket", why="memory-lost") == 1


@pytest.mark.fault(45)
@in_virtual_time
async def test_call_in_flight_when_memory_is_lost_still_answers_its_caller() -> None:
    """Its claim is gone; its result is not."""
    async with world() as now:
        await both_beating(now)
        now.tool.will(Answers(after_s=5))
        asked = now.a.ask()
        await asyncio.sleep(1)
        wipe(now)
        assert told(await asked) == EXECUTED
        await settled()
        assert now.a.count("holdfast_claims_lost_total", tool="create_ticket") == 1
        assert now.tool.executed == 1
