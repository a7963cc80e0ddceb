"""Turns go out at their times, in their conversations, and again where their client or their region is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from evaluation.replay.turns import Repeat, Turn
from evaluation.run.balance import Balance
from evaluation.run.client import Client
from evaluation.run.environments import PRE_PROD, STAGING, Environment
from evaluation.run.following import Following, Sent
from evaluation.run.sending import Sending
from evaluation.scripts import Range


class Coordinator:
    """Takes turns, and keeps what was said; a thread is named for the turn that opened it. `slow` delays answers to
    those that open one; `refuse` turns down the turns that it names."""

    def __init__(self, slow_s: float = 0, refuse: Sequence[str] = ()) -> None:
        self.said: list[dict[str, Any]] = []
        self._slow_s = slow_s
        self._refuse = refuse

    async def take(self, request: web.Request) -> web.Response:
        """Take a turn."""
        body = await request.json()
        self.said.append(body | {"region": request.match_info["region"]})
        if body["client_turn_id"] in self._refuse:
            return web.json_response({}, status=422)
        if "thread_id" not in body:
            await asyncio.sleep(self._slow_s)
        thread = body.get("thread_id", f"thread-{body['client_turn_id']}")
        return web.json_response({"thread_id": thread, "run_id": f"run-{body['client_turn_id']}"}, status=201)


class Followed(Following):
    """Notes what is to be followed."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}

    def add(self, sent: Sent) -> None:
        """Note it."""
        self.sent[sent.turn] = sent


def turn(name: str, at: float = 0.0, thread: str = "th", **more: Any) -> Turn:
    """Return a turn without calls."""
    return Turn(name, at, "acme", "u1", thread, name, text="hello", **more)


async def send(
    coordinator: Coordinator, turns: Sequence[Turn], environment: Environment = STAGING, pace: float = 100
) -> tuple[Followed, Sending]:
    """Send turns."""
    application = web.Application()
    application.router.add_post("/{region}/v1/turns", coordinator.take)
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        balances = {region: Balance([str(server.make_url(f"/{region}"))]) for region in environment.regions}
        followed = Followed()
        client = Client(session, balances, time.time)
        sending = Sending(client, followed, environment, turns, seed=1, limit_s=60, now=time.time)
        await sending.send(turns, time.time(), pace)
    return followed, sending


async def test_turns_are_sent_at_their_times_whatever_becomes_of_others() -> None:
    """And timed from when they were meant to be sent: the slow answer to the first does not hold up the second."""
    coordinator = Coordinator(slow_s=0.2)
    followed, _ = await send(coordinator, [turn("a", 0, "one"), turn("b", 5, "two")])
    sent = followed.sent
    assert 0.04 < sent["b"].sent_at - sent["a"].sent_at < 0.06
    assert [body["client_turn_id"] for body in coordinator.said] == ["a", "b"]
    assert sent["a"].asked.accepted_at is not None
    assert sent["b"].sent_at < sent["a"].asked.accepted_at


async def test_conversation_goes_on_in_the_thread_that_its_first_turn_opened() -> None:
    """A turn that comes before the thread is known waits for it; one after a refusal opens the conversation."""
    coordinator = Coordinator(slow_s=0.1)
    await send(coordinator, [turn("a"), turn("b", 0.1), turn("c", 30)])
    assert [body.get("thread_id") for body in coordinator.said] == [None, "thread-a", "thread-a"]
    coordinator = Coordinator(refuse=["a"])
    await send(coordinator, [turn("a"), turn("b", 0.1), turn("c", 30)])
    assert [body.get("thread_id") for body in coordinator.said] == [None, None, "thread-b"]


async def test_turn_that_is_resent_says_exactly_what_was_said() -> None:
    """Its thread is not known to the client even where it is by now: the same request, byte for byte."""
    first = turn("a")
    again = replace(turn("a-again", 20), client_turn_id="a", repeat=Repeat("a", "resent"))
    coordinator = Coordinator()
    followed, _ = await send(coordinator, [first, again])
    assert coordinator.said[0] == coordinator.said[1]
    assert followed.sent.keys() == {"a", "a-again"}


async def test_body_says_who_asks_for_what() -> None:
    """The message is the simulated model's plan."""
    coordinator = Coordinator()
    await send(coordinator, [turn("a")])
    (said,) = coordinator.said
    assert (said["tenant"], said["user"], said["assistant_id"]) == ("acme", "u1", "asst_simulated")
    assert msgspec.json.decode(said["message"])["turn"] == "a"


async def test_turn_that_moves_is_sent_to_both_regions() -> None:
    """The client hears of the second one alone, and its user's region comes first."""
    moving = replace(PRE_PROD, moved=1.0, after=Range(0, 0))
    coordinator = Coordinator(slow_s=0.05)
    followed, sending = await send(coordinator, [turn("a")], moving)
    regions = [body["region"] for body in coordinator.said]
    assert set(regions) == {"north", "south"}
    assert sending.moved == 1
    sent = followed.sent["a"]
    assert sent.moved
    assert sent.asked.sends == 2
    home = moving.region_of(turn("a"))
    assert home not in sent.asked.instance
