"""The HTTP face of the reference coordinators."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from evaluation.variants.metrics import Metrics
from evaluation.variants.turn_api import STATUSES, BadNotice, TurnApi
from evaluation.variants.turns import Ask, NotStarted, Started, Turns

TURN = {"client_turn_id": "a", "message": "hello", "assistant_id": "asst_1", "tenant": "t1", "user": "u1"}


STARTED = Started("thread_1", "run_1", anew=True)


class Told(Turns):
    """Turns that become what a test says."""

    def __init__(self, told: Started | NotStarted) -> None:
        self.told = told
        self.asked: list[Ask] = []

    async def start(self, ask: Ask) -> Started | NotStarted:
        """Tell."""
        self.asked.append(ask)
        return self.told


class Tracked:
    """Notes what it is told to track, and of what it was notified."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str]] = []

    def track(self, thread_id: str, run_id: str) -> None:
        """See `evaluation.variants.turn_api.Tracks`."""
        self.runs.append((thread_id, run_id))

    async def notified(self, fields: Mapping[str, str], body: bytes) -> bool:
        """See `evaluation.variants.turn_api.Notified`."""
        if "webhook-id" not in fields:
            raise BadNotice("unauthorized", "not signed")
        return body == b"news"


@contextlib.asynccontextmanager
async def served(
    told: Started | NotStarted = STARTED, *, notified: bool = True
) -> AsyncIterator[tuple[TestClient[Any, Any], Told, Tracked]]:
    """Serve the API."""
    turns, tracked = Told(told), Tracked()
    api = TurnApi(turns, tracked, Metrics(), tracked.notified if notified else None)
    api.health.ready = True
    async with TestClient(TestServer(api.application())) as client:
        yield client, turns, tracked


async def test_turn_is_answered_with_its_run() -> None:
    """201 for one that was started for this request, 200 for one that is known."""
    async with served() as (client, turns, _):
        for anew, status in ((True, 201), (False, 200)):
            turns.told = Started("thread_1", "run_1", anew=anew)
            async with client.post("/v1/turns", json=TURN) as answer:
                assert answer.status == status
                assert await answer.json() == {"thread_id": "thread_1", "run_id": "run_1"}
        assert turns.asked[0] == Ask(**TURN)


async def test_turn_that_is_not_started_is_a_problem_with_its_reason() -> None:
    """Those that may succeed later say when to ask again."""
    for why, status in STATUSES.items():
        async with served(NotStarted(why, "so it is")) as (client, _, _), client.post("/v1/turns", json=TURN) as answer:
            assert answer.status == status
            assert (await answer.json(content_type=None))["type"] == f"urn:holdfast:problem:{why}"
            assert ("Retry-After" in answer.headers) != ("x-should-retry" in answer.headers)


async def test_request_that_is_no_turn_is_refused() -> None:
    """And starts nothing."""
    async with served() as (client, turns, tracked):
        for path in ("/v1/turns", "/v1/runs"):
            async with client.post(path, data=b'{"message": 1}') as answer:
                assert answer.status == 400
        assert (turns.asked, tracked.runs) == ([], [])


async def test_run_that_was_made_elsewhere_is_tracked() -> None:
    """As a run that moves to this region is."""
    async with served() as (client, _, tracked):
        async with client.post("/v1/runs", json={"thread_id": "thread_1", "run_id": "run_1"}) as answer:
            assert answer.status == 202
        assert tracked.runs == [("thread_1", "run_1")]


async def test_notification_is_taken_where_there_are_any() -> None:
    """Unsigned ones are refused; who polls alone has no such path."""
    async with served() as (client, _, _):
        for body, taken in ((b"news", True), (b"old", False)):
            async with client.post("/v1/webhooks/assistants", data=body, headers={"webhook-id": "1"}) as answer:
                assert await answer.json() == {"taken": taken}
        async with client.post("/v1/webhooks/assistants", data=b"news") as answer:
            assert answer.status == 401
    async with served(notified=False) as (client, _, _), client.post("/v1/webhooks/assistants") as answer:
        assert answer.status == 404


async def test_probes_and_counters_are_served() -> None:
    """As for every process here."""
    async with served() as (client, _, _):
        for path in ("/livez", "/readyz", "/metrics"):
            async with client.get(path) as answer:
                assert answer.status == 200
                assert path != "/metrics" or "reference_turns" in await answer.text()
