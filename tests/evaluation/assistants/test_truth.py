"""The simulator's truth about runs: what was asked when, how often it was handed in, and what was told of each call."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from evaluation.assistants.api import Api
from evaluation.assistants.script import Fate, Script
from evaluation.assistants.truth import PAGE_MAX, Page, told_by
from evaluation.scripts import Range
from evaluation.tools.asking import payload_hash

SPOKEN = {"OpenAI-Beta": "assistants=v2"}
MESSAGE = '{"steps": [[{"tool": "send_email", "arguments": {"to": "a"}}]], "turn": "t1"}'
Client = TestClient[Any, Any]


async def read(client: Client, path: str, **query: str) -> Any:
    """Return what a path shows."""
    async with client.get(path, params=query) as answer:
        return msgspec.json.decode(await answer.read())


async def runs(client: Client, **query: str) -> Page:
    """Return a page of the truth."""
    return msgspec.convert(await read(client, "/_simulator/runs", **query), Page)


async def begun(client: Client) -> str:
    """Start a run in a thread of its own; return its path once it asks for outputs."""
    said = {"messages": [{"role": "user", "content": MESSAGE}]}
    async with client.post("/v1/threads/runs", json={"assistant_id": "asst_1", "thread": said}) as answer:
        run = await answer.json()
    path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
    while (await read(client, path))["status"] != "requires_action":
        pass
    return path


async def test_run_is_told_of_with_its_steps_and_what_was_said_of_its_calls() -> None:
    """While it is open, and once it has ended; with every attempt to submit, and those that lacked an id."""
    api = Api(Fate(Script(queue=Range(0, 0), think=Range(0, 0))))
    async with TestClient(TestServer(api.application()), headers=SPOKEN) as client:
        path = await begun(client)
        (call,) = (await read(client, path))["required_action"]["submit_tool_outputs"]["tool_calls"]
        async with client.post(f"{path}/submit_tool_outputs", json={"tool_outputs": [{"output": "{}"}]}) as answer:
            assert answer.status == 400
        assert (await runs(client)).runs == ()
        (open_run,) = (await runs(client, open="true")).runs
        assert (open_run.status, open_run.ended_at) == ("requires_action", None)
        assert (open_run.steps[0].taken_at, open_run.steps[0].calls[0].told) == (None, "none")
        outputs = [{"tool_call_id": call["id"], "output": '{"id": 1}'}]
        async with client.post(f"{path}/submit_tool_outputs", json={"tool_outputs": outputs}) as answer:
            assert answer.status == 200
        while not (page := await runs(client)).runs:
            pass
    (run,) = page.runs
    (step,) = run.steps
    assert (run.turn, run.status, page.next) == ("t1", "completed", 1)
    assert (step.attempts, step.without_id, step.regenerated) == (2, 1, 0)
    assert step.taken_at is not None
    assert run.ended_at is not None
    assert step.asked_at <= step.taken_at <= run.ended_at
    (told,) = step.calls
    assert (told.tool_call_id, told.tool, told.told) == (call["id"], "send_email", "result")
    assert told.payload_hash == payload_hash(b'{"to": "a"}')


@pytest.mark.parametrize("same_step", [True, False])
async def test_regenerated_step_is_the_same_step(*, same_step: bool) -> None:
    """It was asked for when it was first asked for, whatever it is called now."""
    api = Api(Fate(Script(queue=Range(0, 0), think=Range(0, 0))))
    async with TestClient(TestServer(api.application()), headers=SPOKEN) as client:
        path = await begun(client)
        (before,) = (await runs(client, open="true")).runs
        run = api.life.runs[path.rpartition("/")[2]]
        api.life.regenerate(run, run.created_at + 5, same_step=same_step)
        (after,) = (await runs(client, open="true")).runs
    (was,), (now,) = before.steps, after.steps
    assert (now.asked_at, now.regenerated) == (was.asked_at, 1)
    assert (now.step_id == was.step_id) is same_step
    assert now.calls[0].tool_call_id != was.calls[0].tool_call_id


async def test_pages_follow_each_other() -> None:
    """Each begins where the one before says; behind the last one there is nothing."""
    api = Api(Fate(Script(queue=Range(0, 0), think=Range(0, 0))))
    async with TestClient(TestServer(api.application()), headers=SPOKEN) as client:
        await begun(client)
        (run,) = api.life.runs.values()
        api._ended.extend([run] * (PAGE_MAX + 1))
        first = await runs(client)
        second = await runs(client, since=str(first.next))
        assert (len(first.runs), len(second.runs)) == (PAGE_MAX, 1)
        assert (await runs(client, since=str(second.next))).runs == ()


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (None, "none"),
        ('{"id":"tkt_1","status":"created"}', "result"),
        ("7", "result"),
        ("no JSON", "result"),
        ('{"error":"simulated: not-applied-500"}', "result"),
        ('{"error":{"outcome":"unknown","operation":"op_1"}}', "unknown"),
        ('{"error":{"outcome":"overdue"}}', "unknown"),
        ('{"error":{"outcome":"effect-duplicate"}}', "refused"),
        ('{"error":{"outcome":"timed-out"}}', "error"),
        ('{"error":{"status":503,"body":{}}}', "error"),
    ],
)
def test_output_is_taken_at_its_word(output: str | None, told: str) -> None:
    """Coordinators write errors as objects with an outcome; whatever else there is, a tool has said."""
    assert told_by(output) == told
