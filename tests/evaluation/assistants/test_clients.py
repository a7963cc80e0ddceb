"""The two public clients, unmodified, work with the simulator: it is a process, and they come over HTTP."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from evaluation.address import unused_address
from evaluation.child import child, rooms_environment

MESSAGE = json.dumps({
    "steps": [
        [{"tool": "create_ticket", "arguments": {"subject": "a"}}, {"tool": "search_kb", "arguments": {}}],
        [{"tool": "send_email", "arguments": {"to": "b"}}],
    ]
})  # fmt: skip


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    """Say whether anybody answers there."""
    try:
        async with session.get(url):
            return True
    except aiohttp.ClientError:
        return False


@pytest.fixture
async def simulator(session: aiohttp.ClientSession, tmp_path: Path) -> AsyncIterator[str]:
    """Start `holdfast simulate assistants` and return its origin."""
    address = unused_address()
    command = [sys.executable, "-m", "cli.main", "simulate", "assistants", "--listen", str(address)]
    with child("simulator", command, tmp_path, environ=rooms_environment()) as process:
        await process.until_ready(functools.partial(answers, session, f"{address.url}/v1"), 20)
        yield address.url


async def test_openai_client_completes_a_run_of_two_steps(simulator: str) -> None:
    """The openai client creates thread, message and run, submits both steps, and reads the assistant's message."""
    assert await asyncio.to_thread(_with_openai, simulator) == ("completed", [2, 1], "Done: 3 tool calls.")


def _with_openai(origin: str) -> tuple[str, list[int], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from openai import OpenAI

        client: Any = OpenAI(base_url=f"{origin}/v1", api_key="none", max_retries=0)
        threads = client.beta.threads
        thread = threads.create()
        threads.messages.create(thread.id, role="user", content=MESSAGE)
        run = threads.runs.create_and_poll(thread_id=thread.id, assistant_id="asst_1", poll_interval_ms=20)
        sizes = []
        while run.status == "requires_action":
            calls = run.required_action.submit_tool_outputs.tool_calls
            sizes.append(len(calls))
            outputs = [{"tool_call_id": call.id, "output": "{}"} for call in calls]
            run = threads.runs.submit_tool_outputs_and_poll(
                run_id=run.id, thread_id=thread.id, tool_outputs=outputs, poll_interval_ms=20
            )
        newest = next(iter(threads.messages.list(thread.id)))
        client.close()
        return run.status, sizes, newest.content[0].text.value


async def test_azure_client_completes_a_run(simulator: str) -> None:
    """The azure-ai-agents client does the same, with its api-version in the query."""
    assert await asyncio.to_thread(_with_azure, simulator) == ("completed", ["message_creation", "tool_calls"])


def _with_azure(origin: str) -> tuple[str, list[str]]:
    from azure.ai.agents import AgentsClient
    from azure.core.credentials import AccessToken
    from azure.core.pipeline.policies import SansIOHTTPPolicy

    class Credential:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            return AccessToken("none", int(time.time()) + 3_600)

    plain: Any = SansIOHTTPPolicy()  # its bearer policy insists on https
    with AgentsClient(origin, Credential(), authentication_policy=plain) as client:
        thread = client.threads.create()
        client.messages.create(thread.id, role="user", content="printer")
        run: Any = client.runs.create(thread.id, agent_id="asst_1")
        while run.status in {"queued", "in_progress", "requires_action"}:
            if run.required_action is not None:
                calls = run.required_action.submit_tool_outputs.tool_calls
                outputs: Any = [{"tool_call_id": call.id, "output": "{}"} for call in calls]
                client.runs.submit_tool_outputs(thread.id, run.id, tool_outputs=outputs)
            time.sleep(0.02)
            run = client.runs.get(thread.id, run.id)
        return str(run.status.value), [step.type for step in client.run_steps.list(thread.id, run.id)]
