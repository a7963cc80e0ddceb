"""The executor against the real proxy and a tool with a ledger of its own: processes, sockets, kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from coordinator.exchange import AioExchange, Lost, NotSent, Replied
from coordinator.executor import Executor, Pace
from coordinator.tools import Ask, Told
from evaluation.address import unused_address
from tests.proxy import processes, tools
from tests.proxy.house import House, policies_text, policy_folder
from tests.proxy.house import house as new_house
from tests.proxy.tools import Gate, Tool, succeed, waits

PACE = Pace(base_s=0.02, max_s=0.1)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A proxy with a policy for each thing to be tried."""
    with new_house(tmp_path_factory.mktemp("house")) as made:
        yield made


class Counted(AioExchange):
    """The real exchange, which tells how many requests have come to their ends."""

    def __init__(self) -> None:
        super().__init__(16)
        self._ends = 0
        self._ended = asyncio.Event()

    async def send(
        self, method: str, url: str, fields: Mapping[str, str], body: bytes | None, *, within_s: float,
        keep_bytes_max: int,
    ) -> Replied | NotSent | Lost:  # fmt: skip
        """See `coordinator.exchange.Exchange`."""
        try:
            return await super().send(method, url, fields, body, within_s=within_s, keep_bytes_max=keep_bytes_max)
        finally:
            self._ends += 1
            self._ended.set()

    async def ends(self, more: int) -> None:
        """Return when so many more have ended."""
        enough = self._ends + more
        while self._ends < enough:
            self._ended.clear()
            await self._ended.wait()


@contextlib.asynccontextmanager
async def executor(port: int, exchange: AioExchange | None = None) -> AsyncIterator[Executor]:
    """An executor that is in a hurry."""
    made = Executor(f"http://127.0.0.1:{port}", exchange or AioExchange(16), random.random, pace=PACE)
    yield made
    await made.close()


async def call(asking: Executor, tool: str, run: str, within_s: float = 20.0) -> Told:
    """Ask for a call of `tool`."""
    ask = Ask("thread_1", run, "step_1", "call_1", tool, '{"subject": "a"}')
    return await asking.call(ask, asyncio.get_running_loop().time() + within_s)


async def test_call_runs_once_and_is_replayed_to_whoever_asks_again(house: House) -> None:
    """The tool's JSON is the output, the first time and ever after."""
    run = house.run()
    async with executor(house.port) as one, executor(house.port) as other:
        first, again = await call(one, "act", run), await call(other, "act", run)
    assert (first.verdict, first.outcome, first.tries) == ("answered", "executed", 1)
    assert (again.verdict, again.outcome, again.output) == ("answered", "replayed", first.output)
    assert json.loads(first.output)["ticket"] > 0
    assert first.operation == again.operation != ""
    assert len(house.executions(run)) == 1


@pytest.mark.parametrize("tool", ["brief", "quick"])
async def test_slow_call_is_attached_to_until_its_result_is_there(house: House, tool: str) -> None:
    """Whether the proxy waits for nobody, or the tool's time is over and its reply still listened for."""
    run, gate, exchange = house.run(), Gate(), Counted()
    house.tool.answer_all(waits(gate))
    try:
        async with executor(house.port, exchange) as asking:
            first = asyncio.ensure_future(call(asking, tool, run))
            joiner = asyncio.ensure_future(call(asking, tool, run))
            await asyncio.to_thread(house.tool.await_executions, run)
            await asyncio.to_thread(gate.await_reached)
            await exchange.ends(1)  # somebody has been told that it is still under way, or unknown
            gate.open()
            told = await asyncio.gather(first, joiner)
    finally:
        house.tool.answer_all(succeed)
    assert {one.verdict for one in told} == {"answered"}
    assert len({one.output for one in told}) == 1
    assert max(one.tries for one in told) > 1
    assert len(house.executions(run)) == 1


async def test_unknown_outcome_that_nothing_can_end_is_told_without_waiting(house: House) -> None:
    """The tool's time is over, and nobody listens any longer."""
    run, gate = house.run(), Gate()
    house.tool.answer_all(waits(gate))
    try:
        async with executor(house.port) as asking:
            told = await call(asking, "deaf", run)
    finally:
        house.tool.answer_all(succeed)
        gate.open()
    assert (told.verdict, told.problem) == ("unknown", "outcome-unknown")
    assert len(house.executions(run)) == 1


async def test_tool_that_cannot_be_reached_is_told_as_not_executed(house: House) -> None:
    """After two more tries."""
    async with executor(house.port) as asking:
        for tool in ("refused", "offline"):
            told = await call(asking, tool, house.run())
            assert (told.verdict, told.problem, told.tries) == ("unreached", "not-sent", 3)


async def test_call_that_is_not_waited_for_any_longer_goes_on_and_is_had_by_who_asks_again(house: House) -> None:
    """The coordinator lets go; another replica of it takes the call up."""
    run, gate = house.run(), Gate()
    house.tool.answer_all(waits(gate))
    try:
        async with executor(house.port) as one, executor(house.port) as other:
            first = asyncio.ensure_future(call(one, "act", run))
            await asyncio.to_thread(gate.await_reached)
            first.cancel()
            second = asyncio.ensure_future(call(other, "act", run))
            gate.open()
            told = await second
    finally:
        house.tool.answer_all(succeed)
    assert told.verdict == "answered"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(55)
async def test_sidecar_that_is_killed_under_a_call_and_comes_back_is_asked_for_what_it_knows(tmp_path: Path) -> None:
    """A call that was with the tool when its proxy died may have run: unknown, and once. One that ended is replayed."""
    port, gate, exchange = unused_address().port, Gate(), Counted()
    policies = policy_folder(tmp_path / "policies", policies_text(refused_port=1, silent_port=1, tool_port=1))
    store = processes.sqlite_url(tmp_path)

    def start(tool: Tool) -> contextlib.AbstractContextManager[processes.Proxy]:
        return processes.proxy(tmp_path, policies, tool.url, store, "--listen", f"127.0.0.1:{port}")

    with tools.tool() as tool:
        async with executor(port, exchange) as asking:
            with start(tool) as proxy:
                done = await call(asking, "act", "run_1")
                tool.answer_all(waits(gate))
                caught = asyncio.ensure_future(call(asking, "act", "run_2"))
                await asyncio.to_thread(gate.await_reached)
                proxy.kill()
                early = asyncio.ensure_future(call(asking, "act", "run_3"))
                tool.answer_all(succeed)
            await exchange.ends(4)  # they find nobody there
            with start(tool):
                told = await asyncio.wait_for(caught, 20)
                assert (told.verdict, told.problem) == ("unknown", "outcome-unknown")
                assert (await asyncio.wait_for(early, 20)).verdict == "answered"
                again = await call(asking, "act", "run_1")
                assert (again.outcome, again.output) == ("replayed", done.output)
        gate.open()
        assert [len(tool.executions(run)) for run in ("run_1", "run_2", "run_3")] == [1, 1, 1]
