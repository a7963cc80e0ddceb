"""What callers do with their answers while replicas come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from evaluation.address import held_address
from evaluation.rollout.callers import Callers, NoUse


class Side:
    """A sidecar whose answers are a test's, and who notes what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any] | str]] = []
        self.asked: list[tuple[str, str]] = []
        self.callers: Callers | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the next that is left; after the last, say to have enough."""
        self.asked.append((request.headers["X-Tool-Call-Id"], await request.text()))
        if len(self.answers) == 1 and self.callers is not None:
            self.callers.enough.set()
        status, body = self.answers.pop(0)
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response(body, status=status, headers={"Holdfast-Outcome": "executed"})


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    """One that is there, behind one that is away."""
    side = Side()
    app = web.Application()
    app.router.add_post("/tools/refund_payment", side.handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with held_address() as away:
            side.callers = Callers(session, [], [away.url, str(server.make_url(""))])
            yield side


COME_AGAIN = (503, {"type": "urn:holdfast:problem:overloaded", "retry": "same-key"})


async def test_caller_asks_again_under_the_same_ids_whoever_is_there(side: Side) -> None:
    """A place that nobody listens at and a refusal that says to come again are both followed by the same call."""
    assert side.callers is not None
    side.answers = [COME_AGAIN, (201, {"id": 1})]
    await side.callers.call(0)
    assert len(side.asked) == 2
    assert side.asked[0] == side.asked[1]
    told = side.callers.answers.told
    assert told == {"not reached": 2, "503 overloaded, to be asked again": 1, "201 executed": 1}
    assert side.callers.answers.ended == 1
    assert [tool for tool, _ in side.callers.answers.intents] == ["refund_payment"]


@pytest.mark.parametrize(
    "useless",
    [
        (500, "Internal Server Error"),
        (409, {"type": "urn:holdfast:problem:outcome-unknown", "retry": "after-resolution"}),
        (502, {"detail": "who knows"}),
    ],
)
async def test_answer_that_does_not_say_to_come_again_is_of_no_use(
    side: Side, useless: tuple[int, dict[str, Any] | str]
) -> None:
    """It is kept word for word, and its caller goes away."""
    assert side.callers is not None
    side.answers = [useless, (201, {})]
    with pytest.raises(NoUse):
        await side.callers.call(0)
    assert len(side.callers.answers.useless) == 1
    assert side.callers.answers.useless[0].startswith(f"{useless[0]}: ")
