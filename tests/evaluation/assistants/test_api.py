"""The simulated API answers as the real one, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from evaluation.assistants.api import Api, _fail
from evaluation.assistants.script import Fate, PlannedCall, Rates, Script
from evaluation.scripts import Range

QUICK = Script(queue=Range(0, 0), think=Range(0, 0), plan=[[PlannedCall("create_ticket", {"subject": "a"})]])
SPOKEN = {"OpenAI-Beta": "assistants=v2"}


@contextlib.asynccontextmanager
async def served(rates: Rates | None = None) -> AsyncIterator[tuple[TestClient[Any, Any], Api]]:
    """Serve the API with a quick model and some faults."""
    api = Api(Fate(Script(0, QUICK.queue, QUICK.think, rates=rates or Rates(), plan=QUICK.plan)))
    async with TestClient(TestServer(api.application()), headers=SPOKEN) as client:
        yield client, api


async def until(client: TestClient[Any, Any], path: str, status: str, without: str = "-") -> dict[str, Any]:
    """Ask for a run until it has `status`, and no longer names `without`."""
    while True:
        async with client.get(path) as answer:
            run: dict[str, Any] = await answer.json()
        if run["status"] == status and without not in str(run):
            return run
        await asyncio.sleep(0)


async def asking(client: TestClient[Any, Any]) -> tuple[str, dict[str, Any]]:
    """Create a thread and a run; return the run's path and the run once it waits for outputs."""
    async with client.post("/v1/threads/runs", json={"assistant_id": "asst_1"}) as answer:
        run = await answer.json()
    path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
    return path, await until(client, path, "requires_action")


def outputs(run: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be submitted."""
    calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    return {"tool_outputs": [{"tool_call_id": call["id"], "output": "{}"} for call in calls]}


async def test_request_without_the_beta_header_is_refused() -> None:
    """The header names the version that is spoken; a query with `api-version` does as well."""
    async with served() as (client, _):
        client.session.headers.popall("OpenAI-Beta")
        async with client.post("/v1/threads", json={}) as answer:
            assert answer.status == 400
            assert "OpenAI-Beta" in (await answer.json())["error"]["message"]
        async with client.post("/threads?api-version=v1", json={}) as answer:
            assert answer.status == 200


async def test_required_action_names_no_step_and_the_steps_do() -> None:
    """The step of a call is found by listing the run's steps: `required_action` does not tell."""
    async with served() as (client, _):
        path, run = await asking(client)
        call = run["required_action"]["submit_tool_outputs"]["tool_calls"][0]
        assert set(call) == {"id", "type", "function"}
        assert set(call["function"]) == {"name", "arguments"}
        async with client.get(f"{path}/steps") as answer:
            (step,) = (await answer.json())["data"]
        assert [one["id"] for one in step["step_details"]["tool_calls"]] == [call["id"]]
        async with client.get(f"{path}/steps/{step['id']}") as answer:
            assert await answer.json() == step


async def test_submitted_outputs_complete_the_run() -> None:
    """Outputs in, run completed; the truth about the hand-in is told."""
    async with served() as (client, api):
        path, run = await asking(client)
        async with client.post(f"{path}/submit_tool_outputs", json=outputs(run)) as answer:
            assert answer.status == 200
        await until(client, path, "completed")
        async with client.get("/_simulator/submissions") as answer:
            (told,) = await answer.json()
    assert (told["taken"], told["answered"], len(api.submissions)) == (True, 200, 1)


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        (Rates(submit_applied_503=1), True),
        (Rates(submit_refused_503=1), False),
        (Rates(submit_applied_cut=1), True),
        (Rates(submit_refused_cut=1), False),
    ],
)
async def test_submission_may_be_taken_or_not_behind_the_same_failure(rates: Rates, taken: bool) -> None:
    """A 503 or a closed connection says nothing about whether the outputs were taken: the run does."""
    async with served(rates) as (client, api):
        path, run = await asking(client)
        try:
            async with client.post(f"{path}/submit_tool_outputs", json=outputs(run)) as answer:
                assert answer.status == 503
        except aiohttp.ServerDisconnectedError:
            assert api.submissions[0].answered == 0
        assert await until(client, path, "completed" if taken else "requires_action")
    assert [one.taken for one in api.submissions] == [taken]


async def test_stale_read_shows_the_run_before_its_newest_change() -> None:
    """With stale reads the status lags by one change."""
    async with served(Rates(stale_read=1)) as (client, api):
        async with client.post("/v1/threads/runs", json={"assistant_id": "asst_1"}) as answer:
            run = await answer.json()
        path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
        await until(client, path, "in_progress")
        assert api.life.runs[run["id"]].status == "requires_action"


@pytest.mark.parametrize("rates", [Rates(regenerate=1), Rates(regenerate_step=1)])
async def test_regenerated_calls_come_under_new_ids(rates: Rates) -> None:
    """On request the same step is asked for once more, under other ids."""
    async with served(rates) as (client, _):
        path, _ = await asking(client)
        first = "call_000003"  # after thread and run: it may be gone already
        old = {"tool_outputs": [{"tool_call_id": first, "output": "{}"}]}
        run = await until(client, path, "requires_action", without=first)
        async with client.post(f"{path}/submit_tool_outputs", json=old) as answer:
            assert answer.status == 400
        async with client.post(f"{path}/submit_tool_outputs", json=outputs(run)) as answer:
            assert answer.status == 200


async def test_created_thing_behind_a_503_can_be_found_by_listing() -> None:
    """A creation that was applied and answered 503 is there for who lists."""
    fate = Fate(QUICK)
    async with TestClient(TestServer(Api(fate).application()), headers=SPOKEN) as client:
        async with client.post("/v1/threads", json={"metadata": {"turn": "t1"}}) as answer:
            thread = (await answer.json())["id"]
        fate.script = Script(rates=Rates(create_applied_503=1))
        async with client.post(f"/v1/threads/{thread}/runs", json={"assistant_id": "asst_1"}) as answer:
            assert answer.status == 503
        async with client.get(f"/v1/threads/{thread}/runs") as answer:
            assert len((await answer.json())["data"]) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[1", "could not parse"),
        (b"{}", "tool_outputs"),
        (b'{"tool_outputs": [{"tool_call_id": 1}]}', "tool_outputs[0]"),
        (b'{"tool_outputs": [{"tool_call_id": "a"}, {"tool_call_id": "a"}]}', "Duplicate"),
    ],
)
async def test_malformed_outputs_are_refused_by_name(body: bytes, told: str) -> None:
    """What cannot be outputs is refused with the API's error object."""
    async with served() as (client, _):
        path, _ = await asking(client)
        async with client.post(f"{path}/submit_tool_outputs", data=body) as answer:
            error = (await answer.json())["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert told in error["message"]


async def test_unknown_path_is_answered_as_the_api_does() -> None:
    """A path that does not exist gets the error object as well."""
    async with served() as (client, _), client.get("/v1/nothing") as answer:
        assert (answer.status, (await answer.json())["error"]["type"]) == (404, "invalid_request_error")


async def test_run_is_cancelled_on_request() -> None:
    """A cancelled run ends, and a second run may begin in the thread."""
    async with served() as (client, _):
        path, run = await asking(client)
        async with client.post(f"{path}/cancel") as answer:
            assert (await answer.json())["status"] == "cancelling"
        await until(client, path, "cancelled")
        async with client.post(f"/v1/threads/{run['thread_id']}/runs", json={"assistant_id": "a"}) as answer:
            assert answer.status == 200


async def test_runs_that_wait_for_outputs_are_listed_across_threads() -> None:
    """For coordinators that poll: those and no others, for as long as they wait."""
    async with served() as (client, _):
        (first, run), (second, _) = await asking(client), await asking(client)
        async with client.get("/v1/_simulator/waiting") as answer:
            waiting = (await answer.json())["data"]
        assert [f"/v1/threads/{one['thread_id']}/runs/{one['id']}" for one in waiting] == [first, second]
        assert waiting[0]["required_action"] == run["required_action"]
        async with client.post(f"{first}/submit_tool_outputs", json=outputs(run)) as answer:
            assert answer.status == 200
        async with client.post(f"{second}/cancel") as answer:
            assert answer.status == 200
        async with client.get("/_simulator/waiting") as answer:
            assert (await answer.json())["data"] == []


def test_caller_that_hung_up_before_its_connection_was_to_be_cut_breaks_nothing() -> None:
    """There is nothing left to cut."""
    request = make_mocked_request("POST", "/threads")
    request.protocol.transport = None
    assert _fail(request, 0).status == 500
