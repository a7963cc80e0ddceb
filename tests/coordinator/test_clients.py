"""The two public clients, unmodified, make runs that the coordinator completes: it is told of each, they only watch."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.coordinator.processes import Coordinator, World, post, world
from tests.proxy.processes import until

GOING = {"queued", "in_progress", "requires_action"}
Client = Callable[[str, Callable[[str, str], Any]], tuple[str, list[dict[str, str]]]]


def message(who: str) -> str:
    """Return a plan of two steps that nobody else has: the shipped policies give look-alikes one effect."""
    ticket = {"tool": "create_ticket", "arguments": {"user_id": who, "subject": "Printer"}}
    search = {"tool": "search_kb", "arguments": {"query": "printer"}}
    mail = {"tool": "send_email", "arguments": {"to": f"{who}@example.com", "subject": "Printer"}}
    return json.dumps({"steps": [[ticket, search], [mail]]})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Coordinator]]:
    """The API, tools, a sidecar and a coordinator."""
    with world(tmp_path_factory.mktemp("clients")) as now:
        yield now, now.coordinator()


def with_openai(origin: str, track: Callable[[str, str], Any]) -> tuple[str, list[dict[str, str]]]:
    """Make a run, have it tracked, and watch it; return its status and each step's outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from openai import OpenAI

        client: Any = OpenAI(base_url=f"{origin}/v1", api_key="none")
        threads = client.beta.threads
        thread = threads.create()
        threads.messages.create(thread.id, role="user", content=message("openai"))
        run = threads.runs.create(thread_id=thread.id, assistant_id="asst_1")
        track(thread.id, run.id)
        until(lambda: threads.runs.retrieve(run.id, thread_id=thread.id).status not in GOING, "the run ends")
        status = threads.runs.retrieve(run.id, thread_id=thread.id).status
        steps = threads.runs.steps.list(run.id, thread_id=thread.id, order="asc")
        outputs = [
            {call.function.name: call.function.output for call in step.step_details.tool_calls}
            for step in steps
            if step.type == "tool_calls"
        ]
        client.close()
        return status, outputs


def with_azure(origin: str, track: Callable[[str, str], Any]) -> tuple[str, list[dict[str, str]]]:
    """Do the same with azure-ai-agents."""
    from azure.ai.agents import AgentsClient
    from azure.core.credentials import AccessToken
    from azure.core.pipeline.policies import SansIOHTTPPolicy

    class Credential:
        def get_token(self, *_: str, **__: Any) -> AccessToken:
            return AccessToken("none", int(time.time()) + 3_600)

    plain: Any = SansIOHTTPPolicy()  # its bearer policy insists on https
    with AgentsClient(origin, Credential(), authentication_policy=plain) as client:
        thread = client.threads.create()
        client.messages.create(thread.id, role="user", content=message("azure"))
        run: Any = client.runs.create(thread.id, agent_id="asst_1")
        track(thread.id, run.id)
        until(lambda: status_of(client.runs.get(thread.id, run.id)) not in GOING, "the run ends")
        steps: list[Any] = [
            step for step in client.run_steps.list(thread.id, run.id, order="asc") if step.type == "tool_calls"
        ]
        outputs = [
            {call["function"]["name"]: call["function"]["output"] for call in step.step_details.tool_calls}
            for step in steps
        ]
        return status_of(client.runs.get(thread.id, run.id)), outputs


def status_of(run: Any) -> str:
    """Return a run's status as it goes over the wire."""
    return str(run.status.value)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("client", [with_openai, with_azure], ids=["openai", "azure-ai-agents"])
def test_run_that_a_client_makes_is_completed_by_the_coordinator(
    served: tuple[World, Coordinator], client: Client
) -> None:
    """The client makes thread, message and run; `POST /v1/runs` tells the coordinator of it; both steps are executed
    and submitted, and the client reads the tools' own answers in them."""
    now, coordinator = served
    made: list[str] = []

    def track(thread_id: str, run_id: str) -> None:
        made.append(run_id)
        post(f"{coordinator.url}/v1/runs", {"thread_id": thread_id, "run_id": run_id})

    status, outputs = client(now.assistants.url, track)
    assert status == "completed"
    assert [sorted(step) for step in outputs] == [["create_ticket", "search_kb"], ["send_email"]]
    did = {effect["tool"]: effect["audit_id"] for effect in now.effects() if effect["run_id"] == made[0]}
    told = {tool: json.loads(step[tool])["id"] for step in outputs for tool in step if tool != "search_kb"}
    assert told == did
    assert "results" in json.loads(outputs[0]["search_kb"])
