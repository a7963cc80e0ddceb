"""Variant A's memory of results."""

from __future__ import annotations

import asyncio
import json

from evaluation.variants.agents import Call, Seen
from evaluation.variants.correlating import Results
from evaluation.variants.tasks import Tasks
from tests.proxy.virtual import in_virtual_time


def run(*calls: Call, run_id: str = "run_1", tenant: str = "t1") -> Seen:
    """Return a run that asks for calls."""
    return Seen("thread_1", run_id, "requires_action", calls, {"tenant": tenant})


def call(call_id: str, tool: str = "create_ticket", **arguments: object) -> Call:
    """Return a call."""
    return Call(call_id, tool, json.dumps(arguments))


class Executions:
    """What was executed, each taking a second."""

    def __init__(self, window_s: float = 5.0) -> None:
        self.done: list[str] = []
        self.results = Results(self._execute, Tasks(), window_s, asyncio.get_running_loop().time)

    async def _execute(self, _: Seen, one: Call) -> str:
        self.done.append(one.id)
        await asyncio.sleep(1)
        return f'"{one.id}"'


@in_virtual_time
async def test_call_that_comes_again_gets_its_own_result() -> None:
    """Also while it is under way: the execution itself is remembered."""
    executions = Executions()
    asking = run(call("call_1", subject="a"))
    first = executions.results.of(asking, asking.calls[0])
    again = executions.results.of(asking, asking.calls[0])
    assert (first[0], again[0]) == ("executed", "tuple")
    assert await first[1] == await again[1] == '"call_1"'
    assert executions.done == ["call_1"]


@in_virtual_time
async def test_call_under_a_new_id_gets_the_result_of_one_that_looks_the_same() -> None:
    """Tool and arguments decide, in whatever order the arguments' members are; from then on the id is known."""
    executions = Executions()
    old = run(call("call_1", subject="a", priority="low"))
    await executions.results.of(old, old.calls[0])[1]
    new = run(call("call_2", priority="low", subject="a"))
    how, output = executions.results.of(new, new.calls[0])
    assert (how, await output) == ("guess", '"call_1"')
    assert executions.results.of(new, new.calls[0])[0] == "tuple"


@in_virtual_time
async def test_guess_is_made_within_the_window_and_the_tenant_only() -> None:
    """Later, of another tenant, tool or arguments, it is another call."""
    executions = Executions()
    old = run(call("call_1", subject="a"))
    await executions.results.of(old, old.calls[0])[1]
    others = [
        run(call("call_2", subject="b")),
        run(call("call_3", tool="send_email", subject="a")),
        run(call("call_4", subject="a"), tenant="t2"),
    ]
    assert [executions.results.of(other, other.calls[0])[0] for other in others] == ["executed"] * 3
    await asyncio.sleep(5)
    late = run(call("call_5", subject="a"))
    assert executions.results.of(late, late.calls[0])[0] == "executed"


@in_virtual_time
async def test_two_equal_calls_of_one_step_are_two() -> None:
    """A run that asks for both at once means both."""
    executions = Executions()
    asking = run(call("call_1", subject="a"), call("call_2", subject="a"))
    assert [executions.results.of(asking, one)[0] for one in asking.calls] == ["executed", "executed"]
