"""What docs/integrating.md has an agent do, done: its snippets run against a real sidecar and the simulated tools."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from openai.types.chat import ChatCompletionMessage

from cli.inject import inject
from tests.coordinator.processes import Process, get
from tests.proxy.processes import Proxy, until
from tests.redis_server import held_port
from tests.tracked import ROOT

pytestmark = pytest.mark.xdist_group("integrating")  # one sidecar and its tools for all of them

PAGE = (ROOT / "docs/integrating.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ANNOUNCED = re.compile(r"^tools simulator on (http://\S+),", re.MULTILINE)
NOT_HERE = "# needs openai-agents\n"
"""What our locks do not bring is only read, not run."""

SCRIPT = """
tools:
  send_email: {rates: {applied-then-cut: 1}}
  update_crm: {rates: {applied-then-500: 1}}
  create_ticket: {latency: [0.3, 0.3]}
"""
POLICIES = "\n---\n".join(
    f"apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: {name}"
    for name in ("create_ticket", "send_email", "update_crm")
)
"""No effect keys: it is the ids that the snippets send which count."""

TICKET = {"user_id": "u_1", "subject": "printer on fire"}


class Agent:
    """The page's module, and the tools that it ends up at."""

    def __init__(self, tools: str, module: dict[str, Any]) -> None:
        self._tools = tools
        self.module = module

    def effects(self, run_id: str) -> int:
        """Return how often the tools acted for a run."""
        return len(get(f"{self._tools}/_tools/audit?settled=true&run_id={run_id}")["entries"])


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """The snippets as one module, whose tools are behind a sidecar with as little of policies as there can be."""
    folder = tmp_path_factory.mktemp("integrating")
    script = str(folder / "script.yaml")
    Path(script).write_text(SCRIPT)
    (folder / "policies").mkdir()
    (folder / "policies/all.yaml").write_text(POLICIES)
    with contextlib.ExitStack() as stack:
        simulator = Process(folder, "tools", ["simulate", "tools", "--listen", "127.0.0.1:0", "--script", script])
        stack.callback(simulator.end)
        tools = until(lambda: ANNOUNCED.search(simulator.said()), "the tools")[1]
        proxy = Proxy(folder / "proxy", "--policies", str(folder / "policies"), "--upstream", tools)
        stack.callback(proxy.kill)
        module: dict[str, Any] = {}
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("TOOLS_URL", f"http://127.0.0.1:{proxy.port}")
        for snippet in SNIPPETS:
            if not snippet.startswith(NOT_HERE):
                exec(snippet, module)  # the page's own code
        stack.callback(module["http"].close)
        yield Agent(tools, module)


def call(agent: Agent, how: str, *arguments: Any, **more: Any) -> Any:
    """Call a tool by one of the page's two functions."""
    if how == "httpx":
        return json.loads(agent.module["call_tool"](*arguments, **more))

    async def by_aiohttp() -> str:
        async with aiohttp.ClientSession() as session:
            return str(await agent.module["call_tool_async"](session, *arguments, **more))

    return json.loads(asyncio.run(by_aiohttp()))


both = pytest.mark.parametrize("how", ["httpx", "aiohttp"])


@both
def test_call_that_is_asked_for_twice_is_one_ticket(agent: Agent, how: str) -> None:
    """And both get it."""
    first, again = (
        call(agent, how, "create_ticket", TICKET | {"subject": how}, f"run_{how}", "call_1") for _ in range(2)
    )
    assert first["id"] == again["id"]
    assert agent.effects(f"run_{how}") == 1


@both
@pytest.mark.parametrize("tool", ["send_email", "update_crm"])
def test_outcome_that_only_a_person_can_tell_is_said_honestly(agent: Agent, how: str, tool: str) -> None:
    """At once, whether the tool hung up or answered 500: not to be repeated."""
    arguments = {"to": f"{how}@example.com", "subject": "s", "text": tool}
    told = call(agent, how, tool, arguments, f"run_{how}_{tool}", "call_1", seconds=600)
    assert (told["error"]["outcome"], told["error"]["do_not_repeat"]) == ("outcome-unknown", True)
    assert agent.effects(f"run_{how}_{tool}") == 1


@both
def test_call_without_ids_is_refused_and_was_not_done(agent: Agent, how: str) -> None:
    """A mistake of the caller's, of which the model may know that nothing came."""
    told = call(agent, how, "create_ticket", TICKET, "", "")
    assert (told["error"]["outcome"], told["error"]["do_not_repeat"]) == ("key-missing", False)


@both
def test_sidecar_that_is_away_is_asked_until_the_time_is_over(
    agent: Agent, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what became of the call: it may have gone out before."""
    with held_port() as nobody:
        nowhere = f"http://127.0.0.1:{nobody}"
        monkeypatch.setitem(agent.module, "TOOLS_URL", nowhere)
        with agent.module["httpx"].Client(base_url=nowhere) as client:
            monkeypatch.setitem(agent.module, "http", client)
            told = call(agent, how, "create_ticket", TICKET, "run_away", "call_1", seconds=0.2)
    assert told["error"]["do_not_repeat"] is True


def test_tool_calls_of_a_message_are_answered_under_the_models_ids(agent: Agent) -> None:
    """A message that is worked on twice, by two processes, say, is two tickets for its two calls."""
    message = ChatCompletionMessage.model_validate({
        "role": "assistant",
        "tool_calls": [
            {"id": f"call_{n}", "type": "function", "function": {
                "name": "create_ticket", "arguments": json.dumps(TICKET | {"subject": f"chat {n}"}),
            }}
            for n in (1, 2)
        ],
    })  # fmt: skip
    first, again = (agent.module["answer_tool_calls"](message, "run_chat") for _ in range(2))
    assert first == again
    assert [one["tool_call_id"] for one in first] == ["call_1", "call_2"]
    assert agent.effects("run_chat") == 2


def test_snippet_that_needs_more_than_the_locks_bring_calls_what_is_there(agent: Agent) -> None:
    """It is Python, and the names that it takes from the other snippets are theirs."""
    (snippet,) = (snippet for snippet in SNIPPETS if snippet.startswith(NOT_HERE))
    names = {node.id for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Name)}
    assert {"aiohttp", "call_tool_async"} <= names & set(agent.module)


def test_curl_of_the_page_gets_the_ticket(agent: Agent) -> None:
    """As it stands there."""
    command = re.search(r"^curl .*?[^\\]$", PAGE, re.MULTILINE | re.DOTALL)[0]  # type: ignore[index]
    ended = subprocess.run(
        ["bash", "-c", command], env={"TOOLS_URL": agent.module["TOOLS_URL"], "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "HTTP/1.1 201 Created" in ended.stdout, ended.stdout + ended.stderr


def test_inject_of_the_page_adds_the_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a manifest of that name."""
    (tmp_path / "deployment.yaml").write_text((ROOT / "tests/cli/manifests/deployment.yaml").read_text())
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    monkeypatch.chdir(tmp_path)
    told = re.findall(r"^holdfast inject (.*?)(?: \|.*)?$", PAGE, re.MULTILINE)
    assert len(told) == 2
    for arguments in told:
        ended = CliRunner().invoke(inject, shlex.split(arguments))
        assert ended.exit_code == 0, ended.output
        assert "restartPolicy: Always" in ended.stdout
