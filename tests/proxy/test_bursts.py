"""Many callers at once: one execution, bounded waiting, and nothing left behind (fault 2, I8)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import call, callers
from tests.proxy.door import Door, door
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.seen import TICKET, ticket
from tests.proxy.tools import Gate, Tool, says, tool, waits


@pytest.mark.fault(2)
def test_two_thousand_simultaneous_requests_are_one_execution(house: House) -> None:
    """All of them get the one result; the tool's ledger shows one execution."""
    run, gate = house.run(), Gate()
    data = house.call(run, tool="crowd", script=waits(gate, says(ticket())))
    with callers(house.port, 2_000) as crowd:
        for caller in crowd:
            caller.send(data)
        gate.await_reached()
        gate.open()
        answers = [caller.answer() for caller in crowd]
    assert Counter(answer.said for answer in answers) - Counter({(200, "executed", ""): 1}) <= Counter(
        {(200, "joined", ""): 2_000, (200, "replayed", ""): 2_000}
    )
    assert {answer.body for answer in answers} == {TICKET}
    assert len(house.executions(run)) == 1


@pytest.mark.fault(2)
def test_surplus_of_two_thousand_waiters_is_refused_in_good_form(house: House) -> None:
    """With the default bound on waiters the surplus gets a 503 that says when to come back; nobody hangs, one runs."""
    run, gate = house.run(), Gate()
    data = house.call(run, script=waits(gate, says(ticket())))
    before = house.proxy.metric("holdfast_requests_total", tool="act", outcome="refused")
    with callers(house.port, 2_000) as crowd:
        for caller in crowd:
            caller.send(data)
        gate.await_reached()
        until(lambda: house.proxy.metric("holdfast_requests_total", tool="act", outcome="refused") == before + 1_899)
        gate.open()
        answers = [caller.answer() for caller in crowd]
    counted = Counter(answer.said for answer in answers)
    assert counted == {(503, "refused", "overloaded"): 1_899, (200, "executed", ""): 1, (200, "joined", ""): 100}
    assert {answer.body for answer in answers if answer.status == 200} == {TICKET}
    assert {answer.get("Retry-After") for answer in answers if answer.status == 503} == {"1"}
    assert len(house.executions(run)) == 1


@pytest.mark.fault(2)
def test_calls_beyond_the_tools_limit_in_flight_are_refused_and_not_claimed(house: House) -> None:
    """A tool's `limits.inFlight` holds; what is refused for it can be sent again with the same key."""
    gate = Gate()
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(house.caller()) for _ in range(2)]
        runs = [house.run() for _ in range(3)]
        for caller, run in zip(busy, runs, strict=False):
            caller.send(house.call(run, tool="narrow", script=waits(gate)))
            house.tool.await_executions(run)
        refused = house.ask(runs[2], tool="narrow")
        assert refused.said == (503, "refused", "overloaded")
        assert refused.get("Retry-After") == "1"
        gate.open()
        assert [caller.answer().outcome for caller in busy] == ["executed", "executed"]
    assert until(lambda: house.ask(runs[2], tool="narrow").outcome == "executed")
    assert len(house.executions(runs[2])) == 1


def test_after_a_burst_and_faults_the_proxy_is_as_it_was(tmp_path: Path) -> None:
    """I8: descriptors and memory return to where they were after crowds, hang-ups, refusals and lost replies."""
    with tool() as server:
        rules = policy(
            "act", "timeouts: {connect: 1s, upstream: 2s, hold: 2s, late: 2s}", "limits: {waitersPerKey: 50}"
        )
        policies = policy_folder(tmp_path / "policies", rules)
        with processes.proxy(tmp_path / "p", policies, server.url, processes.sqlite_url(tmp_path)) as proxy:
            place = House(proxy, server)
            _burst(place, server, "warm")
            until(lambda: _idle(proxy))
            descriptors, memory = proxy.descriptors(), proxy.memory_bytes()
            for number in range(3):
                _burst(place, server, f"burst-{number}")
            until(lambda: _idle(proxy) and proxy.descriptors() <= descriptors, "descriptors return")
            assert proxy.memory_bytes() < memory + 8 * 1024 * 1024
            assert not proxy.lines("task.failed")


@pytest.mark.loops("asyncio", "uvloop")
async def test_after_a_burst_and_faults_no_task_and_no_waiter_is_left(policies: Path, tool: Tool) -> None:
    """I8: every task, meeting place and timer of two hundred calls, half of them lost or left, is gone afterwards."""
    lost = tool.script(lambda wire, _: wire.reset())
    async with door(policies, tool.url) as opened:
        await _calls(opened, "warm", lost)
        before = len(asyncio.all_tasks())
        for name in ("first", "second"):
            await _calls(opened, name, lost)
        while opened.works.joints or len(asyncio.all_tasks()) > before:  # noqa: ASYNC110  # that is the question
            await asyncio.sleep(0.01)
        assert not opened.works.wakeups.waiting
        assert set(opened.works.in_flight.values()) == {0}
        assert len(opened.works.outbox) == 0


async def _calls(opened: Door, name: str, lost: bytes) -> None:
    """Make a hundred calls in pairs, every other pair with a lost reply; every fifth caller goes before its answer."""
    writers = []
    for number in range(100):
        reader, writer = await opened.connect()
        script = lost if number % 4 < 2 else b""
        writer.write(call(f"{name}-{number // 2}", ("Connection", "close"), script=script))
        if number % 5:
            writers.append((reader, writer))
        else:
            writer.close()
    for reader, writer in writers:
        assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.close()


def _burst(place: House, server: Tool, name: str) -> None:
    lost = server.script(lambda wire, _: wire.reset())
    with callers(place.port, 300) as crowd:
        for number, caller in enumerate(crowd):
            caller.send(place.call(f"{name}-{number // 3}", call="lost" if number % 2 else "ok").replace(
                b"X-Script: ", b"X-Script: " + (lost if number % 2 else b""), 1
            ))  # fmt: skip
        for number, caller in enumerate(crowd):
            if number % 5 == 0:
                caller.reset()
            else:
                assert caller.answer().status in {200, 502, 409, 503}


def _idle(proxy: processes.Proxy) -> bool:
    return proxy.metric("holdfast_pending_settlement_bytes") == 0
