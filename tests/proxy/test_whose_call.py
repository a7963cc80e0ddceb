"""Whose call it is: keys, tenants, principals, and what is never given to somebody else (faults 7 to 9, 32)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import ask, request
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.seen import ticket
from tests.proxy.tools import Gate, says, tool, waits


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    "change",
    [
        {"body": b'{"subject":"other"}'},
        {"body": b""},
        {"method": "PUT"},
        {"target": "/tools/act?x=1"},
        {"target": "/tools/%61ct"},
    ],
    ids=str,
)
@pytest.mark.parametrize("state", ["in flight", "completed", "unknown", "free"])
def test_key_used_for_another_call_is_refused_before_all_else(
    house: House, change: dict[str, str | bytes], state: str
) -> None:
    """Same key, other method, target or body: 422 whatever state the record is in, and no forward."""
    run, gate = house.run(), Gate()
    script = {
        "completed": says(ticket()),
        "unknown": says(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        "free": says(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n"),
    }.get(state, waits(gate))
    with house.caller() as first:
        first.send(house.call(run, script=script))
        if state == "in flight":
            gate.await_reached()
        else:
            first.answer()
        refused = house.ask(run, script=None, **change)
        gate.open()
    assert refused.said == (422, "refused", "key-reused")
    assert refused.get("x-should-retry") == "false"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(7)
def test_key_reuse_is_found_by_the_store_when_the_process_has_forgotten(tmp_path: Path) -> None:
    """After a restart the record alone tells that the key belongs to another call."""
    with tool() as server:
        policies = policy_folder(tmp_path / "policies", policy("act"))
        store = processes.sqlite_url(tmp_path)
        for body, said in (
            (b"{}", (200, "executed", "")),
            (b"[]", (422, "refused", "key-reused")),
            (b"{}", (200, "replayed", "")),
        ):
            with processes.proxy(tmp_path / "p", policies, server.url, store) as proxy:
                assert House(proxy, server).ask("restarted", body=body).said == said
        assert len(server.executions("restarted")) == 1


@pytest.mark.fault(8)
def test_another_tenant_with_the_same_ids_has_keys_of_its_own(house: House) -> None:
    """Tenants never see each other's results, and each one's call runs."""
    run = house.run()
    answers = [house.ask(run, ("X-Tenant-Id", name), tool="tenanted") for name in ("acme", "globex", "acme", "globex")]
    assert [answer.outcome for answer in answers] == ["executed", "executed", "replayed", "replayed"]
    assert answers[0].body == answers[2].body != answers[1].body == answers[3].body
    assert answers[0].get("Holdfast-Operation") != answers[1].get("Holdfast-Operation")
    missing = house.ask(run, tool="tenanted")
    assert (missing.status, missing.problem) == (400, "key-missing")
    assert len(house.executions(run)) == 2


@pytest.mark.fault(8)
def test_another_principal_with_the_same_ids_is_refused(house: House) -> None:
    """Who does not show the first caller's credential gets a 422 and never its result."""
    run = house.run()
    assert house.ask(run, ("Authorization", "Bearer one")).outcome == "executed"
    for fields in ([("Authorization", "Bearer two")], [], [("Authorization", "Bearer one ")][:0]):
        assert house.ask(run, *fields).said == (422, "refused", "key-reused")
    assert house.ask(run, ("Authorization", "Bearer one")).outcome == "replayed"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(32)
def test_cookies_and_credentials_of_a_reply_go_to_its_first_caller_alone(house: House) -> None:
    """Neither joiners nor replays carry what was set for somebody else."""
    run, gate = house.run(), Gate()
    personal = (b"Set-Cookie: sid=1", b"Authentication-Info: x", b"Set-Cookie2: y", b"X-Kept: yes")
    data = house.call(run, script=waits(gate, says(ticket(*personal))))
    with house.caller() as first, house.caller() as joiner:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        gate.open()
        own, others = first.answer(), [joiner.answer(), ask(house.port, data)]
    assert own.get("Set-Cookie") == "sid=1"
    assert [other.outcome for other in others] == ["joined", "replayed"]
    for other in others:
        assert other.get("X-Kept") == "yes"
        assert not other.get("Set-Cookie") + other.get("Set-Cookie2") + other.get("Authentication-Info")


@pytest.mark.fault(9)
def test_write_without_identity_is_refused_or_passed_on_as_the_policy_says(house: House) -> None:
    """`onMissing: reject` names what was missing; `forward` passes on unprotected, and says and counts it."""
    for fields in ((), (("X-Run-Id", "r"),), (("X-Tool-Call-Id", "c"),), (("X-Run-Id", ""), ("X-Tool-Call-Id", "c"))):
        refused = ask(house.port, request("/tools/act", *fields, body=b"{}"))
        assert (refused.status, refused.problem) == (400, "key-missing")
        assert "X-Run-Id" in refused.json()["detail"]
        assert "Idempotency-Key" in refused.json()["detail"]
    counted = house.proxy.metric("holdfast_unprotected_total", tool="loose", why="no-key")
    run = house.run()
    for _ in range(2):
        assert house.ask(run, tool="loose", call="").said == (200, "unprotected", "")
    assert len(house.executions(run)) == 2
    assert house.proxy.metric("holdfast_unprotected_total", tool="loose", why="no-key") == counted + 2


def test_idempotency_key_is_an_identity_quoted_or_bare(house: House) -> None:
    """The IETF draft's header works alone, in both of its spellings, and can never meet a run id."""
    key = house.run()
    named = (("X-Run-Id", ""), ("Idempotency-Key", f'"{key}"'))
    bare = (("X-Run-Id", ""), ("Idempotency-Key", key))
    first, second = (ask(house.port, request("/tools/act", *fields, body=b"{}")) for fields in (named, bare))
    assert (first.outcome, second.outcome) == ("executed", "replayed")
    assert first.body == second.body
    assert house.ask(key, ("Idempotency-Key", key), body=b"{}").outcome == "executed"


@pytest.mark.fault(1)
def test_canonically_equal_body_is_the_same_call(house: House) -> None:
    """JSON bodies that differ in key order and white space alone are one call; other bytes of no JSON type are not."""
    run = house.run()
    assert house.ask(run, body=b'{"a":1,"b":[2.0,"x"]}').outcome == "executed"
    assert house.ask(run, body=b'{ "b" : [2.0, "x"], "a" : 1 }').outcome == "replayed"
    text = ("Content-Type", "text/plain")
    assert house.ask(run, text, call="text", body=b'{"a":1}').outcome == "executed"
    assert house.ask(run, text, call="text", body=b'{"a": 1}').said == (422, "refused", "key-reused")
    assert [one.body for one in house.executions(run)] == [b'{"a":1,"b":[2.0,"x"]}', b'{"a":1}']


def test_mode_off_forwards_every_request_and_says_so(house: House) -> None:
    """A policy that is off protects nothing, and nobody is told otherwise."""
    run = house.run()
    assert [house.ask(run, tool="unguarded").said for _ in range(2)] == [(200, "unprotected", "")] * 2
    assert len(house.executions(run)) == 2
