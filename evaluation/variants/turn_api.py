"""The HTTP face of a reference coordinator: the same small API as `holdfast coordinator` has, as far as it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec
from aiohttp import web
from msgspec import Struct

from evaluation.variants.metrics import Metrics
from evaluation.variants.turns import Ask, NotStarted, Started, Turns
from process.health import Health, health_routes

STATUSES = {
    "bad-request": 400, "unauthorized": 401, "thread-busy": 409, "turn-pending": 409, "backend-refused": 422,
    "backend-unavailable": 502, "store-unavailable": 503,
}  # fmt: skip
NEVER = frozenset({"bad-request", "unauthorized", "backend-refused"})
"""Refusals that the same request gets again."""
BODY_MAX = 2 * 1024 * 1024

Notified = Callable[[Mapping[str, str], bytes], Awaitable[bool]]
"""Takes a notification's header fields and body, and says whether it was of use. Raises `BadNotice`."""


class BadNotice(Exception):
    """A notification that is not signed by anyone we know, or says nothing that can be used."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class Tracks(Protocol):
    """Who takes runs that were made elsewhere."""

    def track(self, thread_id: str, run_id: str) -> None:
        """Watch a run from now on."""


class _Track(Struct, frozen=True):
    thread_id: str
    run_id: str


class TurnApi:
    """The handlers. `notified` is None for a coordinator that only polls."""

    def __init__(self, turns: Turns, tracks: Tracks, metrics: Metrics, notified: Notified | None = None) -> None:
        self.health = Health()
        self._turns = turns
        self._tracks = tracks
        self._metrics = metrics
        self._notified = notified

    def application(self) -> web.Application:
        """Return the application that serves the API and the probes."""
        served = web.Application(client_max_size=BODY_MAX)
        served.add_routes([
            web.post("/v1/turns", self._start),
            web.post("/v1/runs", self._track),
            *health_routes(self.health, self._metrics.registry),
        ])  # fmt: skip
        if self._notified is not None:
            served.router.add_post("/v1/webhooks/assistants", self._webhook)
        return served

    async def _start(self, request: web.Request) -> web.Response:
        try:
            ask = msgspec.json.decode(await request.read(), type=Ask)
        except msgspec.MsgspecError as error:
            return _problem("bad-request", str(error))
        told = await self._turns.start(ask)
        match told:
            case Started(thread_id=thread_id, run_id=run_id, anew=anew):
                self._metrics.turns.labels("started" if anew else "known").inc()
                return _json({"thread_id": thread_id, "run_id": run_id}, 201 if anew else 200)
            case NotStarted(why=why, detail=detail):
                self._metrics.turns.labels(why).inc()
                return _problem(why, detail)

    async def _track(self, request: web.Request) -> web.Response:
        try:
            ask = msgspec.json.decode(await request.read(), type=_Track)
        except msgspec.MsgspecError as error:
            return _problem("bad-request", str(error))
        self._tracks.track(ask.thread_id, ask.run_id)
        return _json({"thread_id": ask.thread_id, "run_id": ask.run_id}, 202)

    async def _webhook(self, request: web.Request) -> web.Response:
        assert self._notified is not None
        try:
            return _json({"taken": await self._notified(request.headers, await request.read())})
        except BadNotice as error:
            return _problem(error.why, str(error))


def _json(told: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(told), status=status, content_type="application/json")


def _problem(why: str, detail: str) -> web.Response:
    status = STATUSES[why]
    told = {"type": f"urn:holdfast:problem:{why}", "title": why, "status": status, "detail": detail}
    headers = {"x-should-retry": "false"} if why in NEVER else {"Retry-After": "1"}
    return web.Response(
        body=msgspec.json.encode(told), status=status, headers=headers, content_type="application/problem+json"
    )
