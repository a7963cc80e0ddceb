"""Cases played through the real data port, guard, execution and memory store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.proxy.rehearsal.stories import played, told


def test_second_call_is_replayed(tmp_path: Path) -> None:
    """One execution, two equal answers."""
    result, wrong = played(tmp_path, "", "requests: [{}, {}]\nreplies: [{body: {id: 1}}, {body: {id: 2}}]\n")
    assert not wrong
    assert told(result) == [(200, "executed"), (200, "replayed")]
    assert [one.body for one in result.answers if one] == [b'{"id":1}', b'{"id":1}']
    assert (result.calls, result.states) == (1, ("completed",))


def test_hours_pass_in_no_time(tmp_path: Path) -> None:
    """A result past its retention is a tombstone."""
    start = time.monotonic()
    result, _ = played(tmp_path, "", "requests: [{}, {at: 25h}]\n")
    assert told(result) == [(200, "executed"), (409, "refused")]
    assert result.states == ("tombstone",)
    assert time.monotonic() - start < 20


def test_callers_come_at_their_times(tmp_path: Path) -> None:
    """One while the first is under way joins it; one whose patience is short is told to come back."""
    case = """
    replies: [{after: 10s}]
    requests: [{}, {at: 2s}, {at: 3s, patience: 2s}]
    """
    result, _ = played(tmp_path, "", case)
    assert told(result) == [(200, "executed"), (200, "joined"), (409, "refused")]


def test_caller_that_hangs_up_gets_nothing_and_costs_nothing(tmp_path: Path) -> None:
    """The forward goes on; the next one gets the late result."""
    case = "replies: [{after: 10s}]\nrequests: [{hangUp: 5s}, {at: 20s}]\n"
    result, _ = played(tmp_path, "", case)
    assert told(result) == [None, (200, "replayed")]
    assert result.answers[1] is not None
    assert result.answers[1].header("Holdfast-Late") == "true"


@pytest.mark.parametrize(
    ("reply", "first", "second", "calls", "state"),
    [
        ("fails: lost", (502, "unknown"), (409, "unknown"), 1, "unknown"),
        ("fails: not-sent", (502, "not-executed"), (502, "not-executed"), 0, "free"),
        ("fails: hangs", (504, "unknown"), (409, "unknown"), 1, "unknown"),
        ("status: 500", (500, "unknown"), (409, "unknown"), 1, "unknown"),
        ("status: 429", (429, "not-executed"), (429, "not-executed"), 2, "free"),
        ("{body: xyz, streams: true}", (200, "executed"), (409, "refused"), 1, "tombstone"),
        ("status: 404", (404, "executed"), (404, "replayed"), 1, "completed"),
    ],
)
def test_tool_does_as_scripted(
    tmp_path: Path, reply: str, first: tuple[int, str], second: tuple[int, str], calls: int, state: str
) -> None:
    """Each way in which a forward can end, and what a second caller gets then."""
    policy = "retry: {attempts: 1}\ntimeouts: {hold: 1s}\n"
    script = reply if reply.startswith("{") else f"{{{reply}}}"
    result, _ = played(tmp_path, policy, f"replies: [{script}]\nrequests: [{{}}, {{}}]\n")
    assert told(result) == [first, second]
    assert (result.calls, result.states) == (calls, (state,))


def test_reads_and_refusals_leave_nothing_in_the_ledger(tmp_path: Path) -> None:
    """A request without an identity, one of another method, one that the policy denies."""
    case = "requests: [{headers: {X-Run-Id: ''}}, {method: GET, path: /elsewhere, body: ''}]\n"
    result, _ = played(tmp_path, "", case)
    assert [one.status for one in result.answers if one] == [400, 200]
    assert (result.calls, result.states) == (1, ())


def test_probe_is_told_from_a_call(tmp_path: Path) -> None:
    """And answered by its own script; the tool knows the operation and the time of the call."""
    policy = """
    unknown: {probe: {get: "/found?ref={operation}", applied: body:/items/0, matches: body:/items/0/ref,
                      createdAt: body:/items/0/at, result: body:/items/0, status: 201}}
    """
    case = """
    replies: [{fails: lost}]
    probes: [{body: {items: []}}, {body: {items: [{id: 7, ref: "{operation}", at: "{time}"}]}}]
    requests: [{}, {at: 30s}]
    """
    result, _ = played(tmp_path, policy, case)
    assert told(result) == [(502, "unknown"), (201, "replayed")]
    assert (result.calls, result.probes, result.states) == (1, 2, ("completed",))


def test_end_is_looked_at_once_nothing_is_under_way(tmp_path: Path) -> None:
    """The tool's late answer is awaited, though every caller has been answered."""
    policy = "timeouts: {upstream: 5s, hold: 5s}\n"
    result, _ = played(tmp_path, policy, "replies: [{after: 2m}]\nrequests: [{}]\n")
    assert told(result) == [(504, "unknown")]
    assert result.states == ("completed",)


def test_end_can_be_looked_at_earlier(tmp_path: Path) -> None:
    """While the tool is still at work."""
    result, _ = played(tmp_path, "", "until: 5s\nreplies: [{after: 10s}]\nrequests: [{hangUp: 1s}]\n")
    assert result.states == ("in-flight",)


def test_observed_calls_are_all_forwarded(tmp_path: Path) -> None:
    """Each caller gets the tool's own answer."""
    result, _ = played(tmp_path, "mode: observe", "requests: [{}, {}]\nreplies: [{body: {id: 1}}, {body: {id: 2}}]\n")
    assert told(result) == [(200, "observed"), (200, "observed")]
    assert [one.body for one in result.answers if one] == [b'{"id":1}', b'{"id":2}']
    assert result.calls == 2


def test_tool_is_launched_for_one_tenant(tmp_path: Path) -> None:
    """And denied to the others, under the same name."""
    policy = """
    match: {path: /tools/act, tenants: [acme]}
    key: {tenant: header:X-Tenant-Id}
    ---
    apiVersion: holdfast.dev/v1
    kind: ToolPolicy
    tool: act
    mode: deny
    """
    case = """
    requests:
      - {headers: {X-Tenant-Id: acme}, expect: {status: 200, outcome: executed}}
      - {headers: {X-Tenant-Id: globex}, expect: {status: 403, problem: denied}}
      - {expect: {status: 400, problem: key-missing}}
    expect: {calls: 1, state: completed}
    """
    assert not played(tmp_path, policy, case)[1]


def test_effect_key_may_be_the_only_identity(tmp_path: Path) -> None:
    """Of calls that come without ids: the second one gets the first one's result."""
    policy = "key: {onMissing: effect}\neffectKey: {fields: [body:/a], scope: tenant}\n"
    case = """
    requests:
      - {headers: {X-Run-Id: ""}, expect: {status: 200, outcome: executed}}
      - {headers: {X-Run-Id: ""}, expect: {status: 200, outcome: replayed}}
      - {headers: {X-Run-Id: ""}, body: {a: 2}, expect: {status: 200, outcome: executed}}
    expect: {calls: 2, state: [completed, completed]}
    """
    assert not played(tmp_path, policy, case)[1]


def test_reused_ids_can_be_told_apart(tmp_path: Path) -> None:
    """Where a provider is known to reuse them."""
    case = """
    requests:
      - {expect: {outcome: executed}}
      - {body: {a: 2}, expect: {outcome: executed}}
      - {expect: {outcome: replayed}}
    expect: {calls: 2}
    """
    assert not played(tmp_path, "key: {onReuse: separate}", case)[1]
