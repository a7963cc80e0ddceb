"""The open loop: a fixed rate, and latency from the intended send."""

from __future__ import annotations

from evaluation.bench.open_loop import OpenLoop, Schedule
from evaluation.bench.shape import Calls
from tests.evaluation.bench.conftest import FastTool


def test_schedule_gives_each_time_once_and_in_order() -> None:
    """By a scripted clock: nothing is due early, everything due is taken once, and there is an end."""
    schedule = Schedule(begin_s=10.0, rate=10.0, count=4)
    assert schedule.next_s == 10.0
    assert schedule.due(9.99) == []
    assert schedule.due(10.0) == [10.0]
    assert schedule.due(10.05) == []
    assert schedule.due(10.25) == [10.1, 10.2]
    assert schedule.next_s == 10.3
    assert schedule.due(99.0) == [10.3]
    assert schedule.next_s is None


def test_stalled_clock_makes_everything_due_at_its_own_time() -> None:
    """After a stall of the asker all that was meant to be sent meanwhile is due, each at the time it was meant for."""
    schedule = Schedule(begin_s=0.0, rate=4.0, count=100)
    assert schedule.due(1.0) == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_every_intended_request_is_sent_and_timed(fast_tool: FastTool) -> None:
    """The tool executes as many as were meant to be sent; none is answered sooner than the tool takes."""
    await fast_tool.delay(20_000)
    load = OpenLoop(fast_tool.address)
    await load.connect(16)
    timings = await load.run(Calls("run_1").new, rate=500, count=100)
    load.close()
    assert len(timings.latencies_s) == 100 == await fast_tool.executions()
    assert min(timings.latencies_s) >= 0.020
    assert timings.seconds >= 100 / 500 + 0.020


async def test_waiting_for_a_busy_server_counts(fast_tool: FastTool) -> None:
    """With one connection and a tool slower than the rate, each request has waited for all before it, and it shows."""
    await fast_tool.delay(20_000)
    load = OpenLoop(fast_tool.address)
    await load.connect(1)
    timings = await load.run(Calls("run_1").new, rate=200, count=10)
    load.close()
    for number, latency_s in enumerate(timings.latencies_s):
        assert latency_s >= (number + 1) * 0.020 - number * 0.005
