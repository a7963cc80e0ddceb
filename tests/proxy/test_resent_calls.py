"""A key of ours on its way down, and a call that is sent twice under it: the real thing, on sockets."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import ask, call
from tests.proxy.house import policy, policy_folder
from tests.proxy.tools import Execution, Tool, Wire, succeed

KEYED = (
    "retry: {backoff: {base: 10ms, max: 100ms}}",
    "unknown: {then: resend, within: 10m}",
    "timeouts: {connect: 1s, upstream: 20s, hold: 15s, late: 20s}",
)


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    """One tool that takes its key in a header, one that takes it in the body."""
    return policy_folder(
        tmp_path / "policies",
        policy("by_header", "upstream: {idempotencyHeader: Idempotency-Key, honoursKeyFor: 1h}", *KEYED)
        + policy("by_body", "upstream: {idempotencyBody: /meta/key, honoursKeyFor: 1h}", *KEYED),
    )


@pytest.mark.fault(20, 21)
def test_lost_call_is_sent_again_under_the_same_key(tmp_path: Path, keyed: Path, tool: Tool) -> None:
    """The connection is reset after the whole request: the caller gets what the second attempt brings."""
    numbers = itertools.count(1)

    def first_is_lost(wire: Wire, execution: Execution) -> None:
        if next(numbers) % 2:
            wire.reset()
        else:
            succeed(wire, execution)

    script = ("X-Script", tool.script(first_is_lost).decode())
    with processes.proxy(tmp_path, keyed, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        answer = ask(proxy.port, call("r_1", script, ("idempotency-key", "mine"), tool="by_header"))
        assert (answer.status, answer.outcome) == (200, "executed")
        sent = tool.executions("r_1")
        operation = answer.get("Holdfast-Operation").encode()
        assert [one.get(b"Idempotency-Key") for one in sent] == [operation, operation]
        assert [one.get(b"Holdfast-Attempt") for one in sent] == [b"1", b"2"]
        assert ask(proxy.port, call("r_1", tool="by_header")).outcome == "replayed"

        body = b'{"subject": "a", "amount": 1.10, "meta": {"sent": true}}'
        answer = ask(proxy.port, call("r_2", script, tool="by_body", body=body))
        assert (answer.status, answer.outcome) == (200, "executed")
        key = json.dumps(answer.get("Holdfast-Operation")).encode()
        there = b'{"subject": "a", "amount": 1.10, "meta": {"key":' + key + b',"sent": true}}'
        assert [one.body for one in tool.executions("r_2")] == [there, there]
        assert ask(proxy.port, call("r_2", tool="by_body", body=body)).outcome == "replayed"
        assert proxy.metric("holdfast_resends_total", tool="by_body") == 1


def test_body_without_a_place_for_the_key_is_refused_and_nothing_is_claimed(
    tmp_path: Path, keyed: Path, tool: Tool
) -> None:
    """Without its key the call could not be sent again, which is what the policy promises to whoever makes it."""
    with processes.proxy(tmp_path, keyed, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        answer = ask(proxy.port, call("r_1", tool="by_body", body=b"[1, 2]"))
        assert (answer.status, answer.problem) == (400, "bad-request")
        assert tool.executions("r_1") == []
        assert ask(proxy.port, call("r_1", tool="by_body", body=b'{"a": 1}')).outcome == "executed"
