"""A user's client asks until it has a run, and no longer than that makes sense."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import evaluation.run.client
from evaluation.address import unused_address
from evaluation.run.balance import Balance
from evaluation.run.client import Asked, Client

STARTED = {"thread_id": "thread_1", "run_id": "run_1"}
CUT = web.Response(status=599)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients do not wait between their requests."""
    monkeypatch.setattr(evaluation.run.client, "BACK_OFF_S", (0.0, 0.0, 0.0))


@contextlib.asynccontextmanager
async def instance(*answers: web.Response) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve the answers, one after the other, then that the turn has started; yield the URL and what was asked."""
    left, asked = list(answers), list[bytes]()

    async def start(request: web.Request) -> web.Response:
        asked.append(await request.read())
        answer = left.pop(0) if left else web.json_response(STARTED, status=201)
        if answer is CUT:
            assert request.transport is not None
            request.transport.abort()
        return answer

    application = web.Application()
    application.router.add_post("/v1/turns", start)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/"), asked


def problem(slug: str, status: int, **headers: str) -> web.Response:
    """Return a refusal as coordinators write it."""
    return web.json_response({"type": f"urn:holdfast:problem:{slug}"}, status=status, headers=headers)


async def ask(*urls: str, limit_s: float = 60) -> Asked:
    """Ask for a turn at these instances."""
    asked = Asked()
    async with aiohttp.ClientSession() as session:
        client = Client(session, {"here": Balance(urls)}, time.time)
        await client.ask("here", b"{}", time.time() + limit_s, asked)
    return asked


async def test_client_is_told_its_run_at_once() -> None:
    """And knows who said so, and when."""
    async with instance() as (url, asked):
        told = await ask(url)
    assert (told.run_id, told.thread_id, told.instance, told.sends) == ("run_1", "thread_1", url, 1)
    assert told.accepted_at is not None
    assert asked == [b"{}"]


async def test_instance_that_refuses_connections_is_passed_over() -> None:
    """By the balancer: it is no request that anybody has seen."""
    async with instance() as (url, _):
        told = await ask(unused_address().url, url)
    assert (told.run_id, told.sends) == ("run_1", 1)


@pytest.mark.parametrize(
    "answer",
    [CUT, web.Response(status=502), problem("turn-pending", 409, **{"Retry-After": "0"}), web.Response(status=429)],
    ids=["cut", "502", "pending", "429"],
)
async def test_answer_that_is_no_last_word_is_asked_for_again(answer: web.Response) -> None:
    """With the very same request: the turn is one."""
    async with instance(answer) as (url, asked):
        told = await ask(url)
    assert (told.run_id, told.sends, told.busy) == ("run_1", 2, 0)
    assert asked == [b"{}", b"{}"]


async def test_busy_thread_is_waited_for_and_counted() -> None:
    """The client comes back when it is told to."""
    busy = [problem("thread-busy", 409, **{"Retry-After": "0"}) for _ in range(3)]
    async with instance(*busy) as (url, _):
        told = await ask(url)
    assert (told.run_id, told.sends, told.busy) == ("run_1", 4, 3)


async def test_refusal_for_good_is_taken_for_one() -> None:
    """The same request would get it again."""
    async with instance(problem("turn-reused", 422)) as (url, asked):
        told = await ask(url)
    assert (told.run_id, told.accepted_at, told.detail) == ("", None, "422 turn-reused")
    assert len(asked) == 1


async def test_client_gives_up_when_its_time_is_over() -> None:
    """What it heard last is kept."""
    told = await ask(unused_address().url, limit_s=0.05)
    assert (told.run_id, told.sends) == ("", 0)
    assert "no instance" in told.detail
