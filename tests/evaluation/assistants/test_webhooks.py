"""Notifications come signed, and as unreliably as they are told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace
from standardwebhooks import Webhook

from evaluation.address import unused_address
from evaluation.assistants.script import Fate, Rates, Script
from evaluation.assistants.things import Run
from evaluation.assistants.webhooks import Receiver, Webhooks

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQh"
RUN = Run("run_1", "thread_1", "asst_1", 0, 600, [])


class Heard:
    """Who is told: keeps ids and bodies, and checks each signature."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.events: list[object] = []
        self.more = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """Take one notification."""
        self.events.append(Webhook(SECRET).verify(await request.text(), dict(request.headers)))
        self.ids.append(request.headers["webhook-id"])
        self.more.set()
        return web.Response()


@contextlib.asynccontextmanager
async def listening(rates: Rates) -> AsyncIterator[tuple[Webhooks, Heard]]:
    """Listen for notifications."""
    heard = Heard()
    application = web.Application()
    application.router.add_post("/hook", heard.take)
    async with TestServer(application) as server:
        webhooks = Webhooks([Receiver(str(server.make_url("/hook")))], SECRET, Fate(Script(rates=rates)))
        try:
            yield webhooks, heard
        finally:
            await webhooks.close()


async def test_notification_is_signed_and_thin() -> None:
    """A notification names the run and its status, and its signature holds."""
    async with listening(Rates()) as (webhooks, heard):
        webhooks.notify(RUN)
        await heard.more.wait()
    assert heard.events == [
        {"type": "thread.run.queued", "data": {"thread_id": "thread_1", "run_id": "run_1", "status": "queued"}}
    ]


async def test_doubled_notification_has_one_id() -> None:
    """What is sent twice has the same webhook-id, by which a receiver knows it."""
    async with listening(Rates(webhook_twice=1)) as (webhooks, heard):
        webhooks.notify(RUN)
        while len(heard.ids) < 2:
            heard.more.clear()
            await heard.more.wait()
    assert heard.ids == ["msg_000001", "msg_000001"]


async def test_lost_notification_never_comes_and_a_late_one_is_overtaken() -> None:
    """A lost one is not sent; one that is late arrives behind its successor."""
    async with listening(Rates()) as (webhooks, heard):
        for rates in (Rates(webhook_lost=1), Rates(webhook_late=1), Rates()):
            webhooks.fate.script = Script(rates=rates)  # each is sent under rates of its own
            webhooks.notify(RUN)
            await asyncio.sleep(0)  # its task has drawn its fate
        while len(heard.ids) < 2:
            heard.more.clear()
            await heard.more.wait()
    assert heard.ids == ["msg_000003", "msg_000002"]


@pytest.mark.parametrize("status", [500, 404])
async def test_receiver_that_fails_is_not_told_again(status: int) -> None:
    """Each notification is tried once, whatever its receiver says."""
    application = web.Application()
    told: list[int] = []
    answered = asyncio.Event()

    async def refuse(_: web.Request) -> web.Response:
        told.append(status)
        answered.set()
        return web.Response(status=status)

    application.router.add_post("/hook", refuse)
    async with TestServer(application) as server:
        webhooks = Webhooks([Receiver(str(server.make_url("/hook")))], SECRET, Fate(Script()))
        webhooks.notify(RUN)
        await answered.wait()
        await webhooks.close()
    assert told == [status]


async def test_receivers_take_turns_and_one_that_refuses_is_passed_over() -> None:
    """As behind a load balancer: nothing is lost because one of them is down."""
    async with listening(Rates()) as (alone, heard):
        (there,) = alone.receivers
        gone = Receiver(f"{unused_address().url}/hook")
        webhooks = Webhooks([there, gone, there], SECRET, Fate(Script()))
        for number in range(1, 6):
            heard.more.clear()
            webhooks.notify(RUN)
            await heard.more.wait()
            assert len(heard.ids) == number
        await webhooks.close()


async def test_only_what_is_subscribed_to_is_notified() -> None:
    """A status that nobody asked for is not sent."""
    async with listening(Rates()) as (all_of_them, heard):
        fate = Fate(Script(notify=("completed",)))
        webhooks = Webhooks(all_of_them.receivers, SECRET, fate)
        webhooks.notify(RUN)
        webhooks.notify(replace(RUN, status="completed"))
        await heard.more.wait()
        await webhooks.close()
    assert [event["type"] for event in heard.events if isinstance(event, dict)] == ["thread.run.completed"]
