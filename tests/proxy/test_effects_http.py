"""Effect keys over HTTP, between two replicas on one Redis: calls without ids, without a scope, without a field."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import Answer, ask, call
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import policy, policy_folder
from tests.proxy.processes import Proxy
from tests.proxy.tools import Tool

X1, X2 = "call_X1", "call_X2"
RUN = "run_Ba91"
BODY = b'{"user_id": "U19384", "conversation_id": "C8821", "subject": "Order 7", "text": "%b"}'
EFFECT = "effectKey: {fields: [body:/user_id, body:/subject], scope: thread, window: 90s, then: %s}"


@contextlib.contextmanager
def replicas(folder: Path, tool: Tool, database: RedisDatabase, *lines: str) -> Iterator[tuple[Proxy, Proxy]]:
    """Run two proxies on one ledger, with a policy for create_ticket."""
    policies = policy_folder(folder / "policies", policy("create_ticket", *lines))
    with (
        processes.proxy(folder / "1", policies, tool.url, database.url) as one,
        processes.proxy(folder / "2", policies, tool.url, database.url) as other,
    ):
        yield one, other


def create_ticket(proxy: Proxy, tool_call: str, *, script: bytes = b"", text: bytes = b"It does not print") -> Answer:
    """Ask for a ticket, as the coordinator does."""
    return ask(proxy.port, made(tool_call, script, text))


def made(tool_call: str, script: bytes = b"", text: bytes = b"It does not print", thread: str = "thread_7QpK") -> bytes:
    """Return the request for a ticket."""
    return call(
        RUN, ("X-Thread-Id", thread), ("Content-Type", "application/json"), tool="create_ticket", call=tool_call,
        script=script, body=BODY % text,
    )  # fmt: skip


def line_of(proxy: Proxy, tool_call: str) -> dict[str, object]:
    """Return the log line of a call."""
    return proxy.await_line("request", tool_call_id=tool_call)


def test_incident_without_effect_keys_is_two_tickets(tmp_path: Path, tool: Tool, database: RedisDatabase) -> None:
    """Identity alone does not see it: this is the hole that effect keys close."""
    with replicas(tmp_path, tool, database) as (one, other):
        assert [create_ticket(one, X1).outcome, create_ticket(other, X2).outcome] == ["executed", "executed"]
        assert len(tool.executions(RUN)) == 2


@pytest.mark.fault(9)
def test_call_without_ids_has_its_effect_for_identity(tmp_path: Path, tool: Tool, database: RedisDatabase) -> None:
    """Two identical calls without ids run once; one that lacks a field as well is refused."""
    with replicas(tmp_path, tool, database, EFFECT % "replay", "key: {onMissing: effect}") as (one, other):
        bare = [("X-Thread-Id", "thread_7QpK"), ("Content-Type", "application/json")]
        body = BODY % b"It does not print"
        answers = [ask(proxy.port, call("", *bare, tool="create_ticket", call="", body=body)) for proxy in (one, other)]
        assert [answer.outcome for answer in answers] == ["executed", "replayed"]
        assert answers[0].body == answers[1].body
        refused = ask(one.port, call("", *bare, tool="create_ticket", call="", body=b'{"user_id": "U1"}'))
        assert refused.said == (400, "", "key-missing")


def test_scope_that_is_not_named_is_refused_and_a_missing_field_is_logged(
    tmp_path: Path, tool: Tool, database: RedisDatabase
) -> None:
    """400 names the header; a call without a field of the effect key is guarded by its key, and its line says so."""
    with replicas(tmp_path, tool, database, EFFECT % "replay") as (one, _):
        refused = ask(one.port, call(RUN, tool="create_ticket", call=X1, body=BODY % b""))
        assert refused.said == (400, "", "key-missing")
        assert "X-Thread-Id" in refused.json()["detail"]
        lacking = call(RUN, ("X-Thread-Id", "t"), tool="create_ticket", call=X1, body=b'{"user_id": "U1"}')
        assert [ask(one.port, lacking).outcome for _ in range(2)] == ["executed", "replayed"]
        line = line_of(one, X1)
        assert line["effect_lacks"] == "body:/subject"
        assert "effect_hash" not in line
