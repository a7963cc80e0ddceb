"""The reference coordinators as processes, over HTTP, started by the table's own command lines."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from evaluation.address import unused_address
from evaluation.child import Child, answers_200, child, rooms_environment
from evaluation.tools.audit import Page
from evaluation.variants.commands import Place, coordinator_command
from evaluation.variants.table import Variant, by_name
from tests.evaluation.conftest import RunningTools, ToolsFactory
from tests.evaluation.variants.world import message
from tests.redis_server import redis_server, system_server

READY_S = 60
SECRET = "whsec_aG9sZGZhc3QtdGVzdC1zZWNyZXQtMDAwMDAx"


@contextlib.asynccontextmanager
async def running(
    variant: Variant, tools: RunningTools, folder: Path, redis: str | None = None
) -> AsyncIterator[tuple[str, Child]]:
    """Run an API and one instance of a variant; yield where the instance takes turns, and its process."""
    api, listen = unused_address(), unused_address()
    (folder / "secret").write_text(SECRET)
    simulate = [sys.executable, "-m", "cli.main", "simulate", "assistants", "--listen", str(api)]
    if variant.notified:
        simulate += ["--webhook-url", f"{listen.url}/v1/webhooks/assistants", "--webhook-secret-file", "secret"]
    place = Place(
        listen=listen, assistants=f"{api.url}/v1", tools=tools.address.url, redis=redis, secrets=folder / "secret"
    )
    with (
        child("api", simulate, folder, environ=rooms_environment()) as simulated,
        child("coordinator", coordinator_command(variant, place), folder, environ=rooms_environment()) as process,
    ):
        await simulated.until_ready(answering(tools, f"{api.url}/_simulator/submissions"), READY_S)
        await process.until_ready(answering(tools, f"{listen.url}/readyz"), READY_S)
        yield listen.url, process


def answering(tools: RunningTools, url: str) -> Callable[[], Awaitable[bool]]:
    """Return what says whether a URL answers."""
    return functools.partial(answers_200, tools.session, url)


async def act(tools: RunningTools, url: str) -> Page:
    """Send a turn of three calls, twice, and return the tools' audit once three have acted."""
    turn = {
        "client_turn_id": "a", "message": message(["create_ticket", "send_email"], ["refund_payment"]),
        "assistant_id": "asst_1", "tenant": "t1", "user": "u1",
    }  # fmt: skip
    answers = []
    for _ in range(2):
        async with tools.session.post(f"{url}/v1/turns", json=turn) as answer:
            answers.append((answer.status, await answer.json()))
    assert [status for status, _ in answers] == [201, 200]
    assert answers[0][1] == answers[1][1]
    async with asyncio.timeout(READY_S):
        return await tools.audit("arrivals=3&settled=true")


async def test_polling_coordinator_brings_a_turn_to_its_end(
    tools: ToolsFactory, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Each call is executed once, with its run's tenant and user."""
    async with tools(0.02) as acting, running(by_name("A"), acting, tmp_path) as (url, process):
        page = await act(acting, url)
        process.check()
    assert sorted(effect.tool for effect in page.entries) == ["create_ticket", "refund_payment", "send_email"]
    assert {(effect.tenant, effect.user_id) for effect in page.entries} == {("t1", "u1")}


@pytest.mark.system
async def test_hybrid_coordinator_is_notified_and_brings_a_turn_to_its_end(
    tools: ToolsFactory, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """By signed notifications alone: it polled for nothing."""
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis", binary=system_server()) as port:
        redis = f"redis://127.0.0.1:{port}"
        async with tools(0.02) as acting, running(by_name("B"), acting, tmp_path, redis) as (url, process):
            page = await act(acting, url)
            process.check()
            async with session.get(f"{url}/metrics") as answer:
                told = await answer.text()
    assert sorted(effect.tool for effect in page.entries) == ["create_ticket", "refund_payment", "send_email"]
    assert 'reference_seen_total{how="webhook"} 2.0' in told
    assert 'how="poll"' not in told
