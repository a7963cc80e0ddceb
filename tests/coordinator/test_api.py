"""The coordinator over HTTP: turns, runs, results posted back, dead letters; and what each bad input is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from standardwebhooks import Webhook

from coordinator.api import Api
from coordinator.serving import application
from coordinator.webhooks import Webhooks
from process.admission import Admission
from process.health import Health
from tests.coordinator.house import House, Replica, house, looked_for, wanted

TICKET = wanted("create_ticket", subject="Printer on fire")
TURN = {"client_turn_id": "turn-1", "message": "plan", "assistant_id": "asst_1"}


class Port:
    """A replica's API, and the house that it stands in."""

    def __init__(self, now: House, replica: Replica, client: TestClient[Any, Any]) -> None:
        self.house = now
        self.replica = replica
        self.client = client

    async def post(self, path: str, body: Any, status: int) -> Any:
        """Post JSON (or bytes, as they are); return the answer's JSON, which must have `status`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.client.post(path, data=data, headers={"Content-Type": "application/json"})
        told = await answer.json(content_type=None)
        assert answer.status == status, told
        return told

    async def get(self, path: str, status: int = 200) -> Any:
        """Return the answer's JSON."""
        answer = await self.client.get(path)
        assert answer.status == status
        return await answer.json(content_type=None)

    async def letters(self) -> list[Any]:
        """Return the dead letters."""
        told: list[Any] = (await self.get("/v1/dead-letters"))["letters"]
        return told

    async def asked(self) -> dict[str, str]:
        """Start a turn whose first call waits for a posted result; return the ids to post it with."""
        self.house.api.plans["plan"] = [[TICKET], [wanted("send_email", to="a")]]
        started = await self.post("/v1/turns", TURN, 201)
        while not (run := self.house.life.runs[started["run_id"]]).waiting:
            self.house.life.advance(run, self.house.api.now())
            await asyncio.sleep(0.01)
        return {**started, "tool_call_id": run.waiting.calls[0].id}


@contextlib.asynccontextmanager
async def port(
    elsewhere: frozenset[str] = frozenset({"create_ticket"}), secrets: str | None = None, **limits: int
) -> AsyncIterator[Port]:
    """Open a house with one replica whose API is served."""
    async with house() as now:
        if limits:
            from msgspec.structs import replace

            now.limits = replace(now.limits, **limits)
        replica = now.replica(elsewhere=elsewhere)
        stopping = asyncio.Event()
        webhooks = None if secrets is None else Webhooks(secrets)
        api = Api(replica.means, replica.watching, replica.turns, replica.inbox, webhooks, stopping.is_set)
        served = application(
            api, Admission("127.0.0.1", None, "--token-file"), Health(), replica.means.metrics, replica.means.log
        )
        async with TestClient(TestServer(served)) as client:
            yield Port(now, replica, client)


async def test_user_who_clicks_twice_gets_one_run() -> None:
    """201 for the first, 200 with the same ids for whoever asks again; one of two at once is the first."""
    async with port() as now:
        now.house.api.plans["plan"] = []
        answers = await asyncio.gather(*(now.client.post("/v1/turns", json=TURN) for _ in range(5)))
        assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 201]
        assert len({(await answer.json())["run_id"] for answer in answers}) == 1
        assert len(now.house.life.runs) == 1


async def test_turns_id_with_another_request_is_refused() -> None:
    """422, and no second run."""
    async with port() as now:
        await now.post("/v1/turns", TURN, 201)
        told = await now.post("/v1/turns", TURN | {"message": "something else"}, 422)
        assert told["type"].endswith("turn-reused")
        assert told["field"] == "client_turn_id"


async def test_run_made_elsewhere_is_tracked_once_and_completed() -> None:
    """202, then 200; another thread for the same run is refused."""
    async with port(frozenset()) as now:
        thread = now.house.life.create_thread(now.house.api.now(), {})
        run = now.house.life.create_run(thread, "asst_1", [[TICKET]], now.house.api.now())
        body = {"thread_id": thread.id, "run_id": run.id}
        await now.post("/v1/runs", body, 202)
        await now.post("/v1/runs", body, 200)
        assert (await now.post("/v1/runs", body | {"thread_id": "thread_9"}, 409))["field"] == "thread_id"
        await now.house.ended(run.id)
        told = await now.get(f"/v1/runs/{run.id}")
        assert told["status"] == "completed"
        assert [call["tool"] for step in told["steps"] for call in step["calls"]] == ["create_ticket"]
        assert [one["end"] for step in told["steps"] for one in step["submissions"]] == ["accepted"]
        assert {"tracked", "asked", "result", "submitting", "submission-accepted", "over"} <= {
            line["what"] for line in told["timeline"]
        }
        listed = await now.get("/v1/runs?status=completed")
        assert [one["run_id"] for one in listed["runs"]] == [run.id]


async def test_result_posted_before_the_next_look_has_seen_its_call_is_accepted() -> None:
    """The coordinator looks by itself: 202, and the run goes on with it."""
    async with port() as now:
        ids = await now.asked()
        await now.post("/v1/tool-outputs", ids | {"output": {"id": "tkt_1"}}, 202)
        record = await now.house.ended(ids["run_id"], 10)
        assert record.status == "completed"
        assert now.house.api.accepted[0][1] == ('{"id": "tkt_1"}',)
        await now.post("/v1/tool-outputs", ids | {"output": {"id": "tkt_1"}}, 200)
        assert (await now.post("/v1/tool-outputs", ids | {"output": {"id": "tkt_2"}}, 409))["field"] == "output"


BAD: list[tuple[str, Any, int, str, str]] = [
    ("no JSON", b"{", 400, "bad-request", ""),
    ("no object", b"[]", 400, "bad-request", ""),
    ("not UTF-8", b'{"thread_id": "\xff"}', 400, "bad-request", ""),
    ("empty", b"", 400, "bad-request", ""),
    ("no thread", {"thread_id": None}, 400, "bad-request", "thread_id"),
    ("run is a number", {"run_id": 7}, 400, "bad-request", "run_id"),
    ("empty run", {"run_id": ""}, 400, "bad-request", "run_id"),
    ("control characters", {"tool_call_id": "call\n1"}, 400, "bad-request", "tool_call_id"),
    ("unknown member", {"tool": "create_ticket"}, 400, "bad-request", "tool"),
    ("neither output nor error", {"output": ...}, 400, "bad-request", "output"),
    ("both output and error", {"error": "no"}, 400, "bad-request", "output"),
    ("too large", {"output": "x" * 600_000}, 400, "bad-request", ""),
    ("unknown run", {"run_id": "run_unknown"}, 422, "unknown-run", "run_id"),
    ("another thread", {"thread_id": "thread_unknown"}, 422, "uncorrelated", "thread_id"),
    ("unknown call", {"tool_call_id": "call_unknown"}, 422, "unknown-call", "tool_call_id"),
    ("no call", {"tool_call_id": ...}, 422, "uncorrelated", "tool_call_id"),
]


@pytest.mark.fault(69)
@pytest.mark.parametrize(("name", "wrong", "status", "slug", "field"), BAD, ids=[case[0] for case in BAD])
async def test_bad_result_is_told_what_is_wrong_and_where(
    name: str, wrong: Any, status: int, slug: str, field: str
) -> None:
    """A problem document that names the field and the remedy; nothing is queued, and the run still waits."""
    async with port() as now:
        ids = await now.asked()
        body: Any = wrong
        if isinstance(wrong, dict):
            whole: dict[str, Any] = ids | {"output": "ok"} | wrong
            body = {key: value for key, value in whole.items() if value is not ...}
        told = await now.post("/v1/tool-outputs", body, status)
        assert told["type"] == f"urn:holdfast:problem:{slug}"
        assert told.get("field", "") == field
        assert told["detail"]
        assert told["remedy"]
        assert await now.house.store.depth() == 0
        assert not now.house.api.accepted


@pytest.mark.fault(71)
async def test_full_queue_answers_429_and_loses_nothing() -> None:
    """With Retry-After; what was accepted before is there, and the same result is taken once there is room."""
    async with port(queue_max=1) as now:
        ids = await now.asked()
        for task in now.replica.tasks:
            task.cancel()  # nobody empties the queue
        await now.house.store.post("another", b"{}", 1)
        answer = await now.client.post("/v1/tool-outputs", json=ids | {"output": 1})
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "1"
        assert (await answer.json(content_type=None))["retry"] == "same-key"
        assert await now.house.store.depth() == 1


@pytest.mark.fault(72)
async def test_accepted_result_that_turns_out_unusable_is_a_dead_letter_and_can_be_requeued_or_dropped() -> None:
    """It is listed with its reason and ids, but without its content."""
    async with port() as now:
        ids = await now.asked()
        await now.house.store.post("poison", b'{"not": "an entry"}', 10)
        now.replica.inbox.kick()
        await now.post("/v1/tool-outputs", ids | {"output": {"id": "tkt_1"}}, 202)
        await now.house.ended(ids["run_id"], 10)
        (letter,) = await now.letters()
        assert letter["reason"] == "unreadable"
        await now.post(f"/v1/dead-letters/{letter['letter']}/requeue", {}, 202)
        (letter,) = await looked_for(now.letters)
        path = f"/v1/dead-letters/{letter['letter']}/drop"
        assert (await now.post(path, {"reason": " "}, 400))["field"] == "reason"
        await now.post(path, {"reason": "a test's"}, 200)
        await now.post(path, {"reason": "again"}, 404)
        assert not await now.letters()


async def test_cancelled_run_ends_and_one_that_has_ended_is_refused() -> None:
    """202, and the run's record says so; 409 afterwards; 404 for one that is not tracked."""
    async with port() as now:
        ids = await now.asked()
        await now.post(f"/v1/runs/{ids['run_id']}/cancel", {}, 202)
        assert (await now.house.ended(ids["run_id"], 10)).status == "cancelled"
        assert (await now.post(f"/v1/runs/{ids['run_id']}/cancel", {}, 409))["type"].endswith("run-ended")
        await now.post("/v1/runs/run_unknown/cancel", {}, 404)


async def test_what_is_not_there_is_a_problem_document() -> None:
    """Unknown paths, methods, cursors, limits and media types are told what is wrong."""
    async with port() as now:
        assert (await now.get("/v1/nothing", 404))["type"].endswith("not-found")
        assert (await now.get("/v1/turns", 405))["remedy"] == "use POST"
        assert (await now.get("/v1/runs?cursor=stale", 400))["field"] == "cursor"
        assert (await now.get("/v1/runs?limit=0", 400))["field"] == "limit"
        answer = await now.client.post("/v1/turns", data=b"{}", headers={"Content-Type": "text/plain"})
        assert answer.status == 415
        assert (await now.post("/v1/turns", TURN | {"message": ""}, 400))["field"] == "message"
        assert (await now.post("/v1/turns", TURN | {"extra": 1}, 400))["field"] == "extra"


SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


def signed(run_id: str, status: str, number: int = 1) -> dict[str, Any]:
    """Return what a request with a notification is made of."""
    body = json.dumps({"type": f"thread.run.{status}", "data": {"thread_id": "thread_000001", "run_id": run_id}})
    at = datetime.now(tz=UTC)
    headers = {
        "webhook-id": f"msg_{number}", "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(f"msg_{number}", at, body), "Content-Type": "application/json",
    }  # fmt: skip
    return {"data": body, "headers": headers}


@pytest.mark.fault(70)
async def test_notification_makes_its_run_looked_at_once_and_counts_once(tmp_path: Path) -> None:
    """Of a run that is kept here, at once and without the store; of another, once for each id; forged ones are 401."""
    secrets = tmp_path / "secrets"
    secrets.write_text(SECRET)
    async with port(secrets=str(secrets)) as now:
        ids = await now.asked()
        run_id, path = ids["run_id"], "/v1/webhooks/assistants"
        before, looks = now.house.store.operations, now.house.api.asked.count("look")
        answer = await now.client.post(path, **signed(run_id, "requires_action"))
        assert (answer.status, await answer.json()) == (200, {"taken": True})
        await looked_for(lambda: looked_more_than(now, looks))
        assert now.house.store.operations - before <= 2
        taken = [await (await now.client.post(path, **signed("run_elsewhere", "completed"))).json() for _ in range(2)]
        assert taken == [{"taken": True}, {"taken": False}]
        idle = await now.client.post(path, **signed(run_id, "in_progress", 2))
        assert await idle.json() == {"taken": False}
        forged = signed(run_id, "requires_action", 3)
        forged["headers"]["webhook-signature"] = signed(run_id, "completed", 3)["headers"]["webhook-signature"]
        assert (await now.client.post(path, **forged)).status == 401
        assert (await now.client.post("/v1/webhooks/another", **signed(run_id, "completed"))).status == 404


async def looked_more_than(now: Port, looks: int) -> bool:
    """Say whether the API was looked at since."""
    return now.house.api.asked.count("look") > looks


async def test_run_whose_tracking_got_no_answer_is_tracked_once() -> None:
    """The store wrote it and its answer was lost: the same write again finds that out. A store that is away is 503."""
    async with port() as now:
        thread = now.house.life.create_thread(now.house.api.now(), {})
        run = now.house.life.create_run(thread, "asst_1", [[TICKET]], now.house.api.now())
        now.replica.weather.next["swap"] = ["cut"]
        await now.post("/v1/runs", {"thread_id": thread.id, "run_id": run.id}, 202)
        assert [one["run_id"] for one in (await now.get("/v1/runs"))["runs"]] == [run.id]
        assert len(now.replica.watching) == 1
        now.replica.weather.next["swap"] = ["refused", "refused"]
        other = {"thread_id": thread.id, "run_id": "run_other"}
        assert (await now.post("/v1/runs", other, 503))["type"].endswith("store-unavailable")
