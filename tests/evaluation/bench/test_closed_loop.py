"""The closed loop against the bench's tool: nothing asked is lost or counted twice."""

from __future__ import annotations

import itertools

import pytest

from evaluation.bench.closed_loop import ClosedLoop
from evaluation.bench.load import WrongAnswer
from evaluation.bench.shape import READ, Calls
from tests.evaluation.bench.conftest import FastTool


@pytest.mark.parametrize("groups", [1, 16])
async def test_every_request_is_executed_and_timed_once(fast_tool: FastTool, groups: int) -> None:
    """The tool counts as many executions as there are latencies, and as there were requests to make."""
    asked = [Calls("run_1").new() for _ in range(500)]
    pending = iter(asked)
    load = ClosedLoop(fast_tool.address)
    await load.connect(groups)
    timings = await load.run(lambda: next(pending, None), groups, 1, seconds=20)
    load.close()
    assert len(timings.latencies_s) == 500 == await fast_tool.executions()
    assert min(timings.latencies_s) > 0
    assert timings.seconds < 20


async def test_group_asks_the_same_at_once(fast_tool: FastTool) -> None:
    """A pair sends one request on both of its connections before it goes on to the next."""
    taken = itertools.count()
    pending = iter([Calls("run_1").new() for _ in range(7)])

    def take() -> bytes | None:
        next(taken)
        return next(pending, None)

    load = ClosedLoop(fast_tool.address)
    await load.connect(4)
    timings = await load.run(take, groups=2, width=2, seconds=20)
    load.close()
    assert len(timings.latencies_s) == 14 == await fast_tool.executions()
    assert next(taken) == 7 + 2


async def test_loop_ends_with_its_time(fast_tool: FastTool) -> None:
    """When the time is over no more is asked: by a scripted clock, after three requests."""
    clock = itertools.count()
    load = ClosedLoop(fast_tool.address, clock=lambda: float(next(clock)))
    await load.connect(1)
    timings = await load.run(Calls("run_1").new, 1, 1, seconds=10)
    load.close()
    # Per request the clock is read to see whether time is left, as it is sent, and as it is answered.
    assert timings.latencies_s == [1, 1, 1]


async def test_wrong_status_ends_the_measurement(fast_tool: FastTool) -> None:
    """An answer with another status than the workload's is an error that shows it."""
    load = ClosedLoop(fast_tool.address, status=201)
    await load.connect(1)
    with pytest.raises(WrongAnswer, match="not 201: b'HTTP/1.1 200 OK"):
        await load.run(lambda: READ, 1, 1, seconds=20)
    load.close()


async def test_closed_connection_ends_the_measurement(fast_tool: FastTool) -> None:
    """A server that hangs up is an error, not a slow answer."""
    load = ClosedLoop(fast_tool.address)
    await load.connect(1)
    with pytest.raises(WrongAnswer, match="the connection was closed"):
        await load.run(lambda: b"POST /tools/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 1, 1, seconds=20)
    load.close()
