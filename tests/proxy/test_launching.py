"""Launching tools for some tenants: `match.tenants` and `mode: deny` (the rollout that they are for)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import Answer, ask, call, request
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.tools import Tool

LAUNCHED = "match: {path: /tools/%s, tenants: [acme, globex]}"
TENANT = "key: {tenant: header:X-Tenant-Id}"
TICKET, REFUND = "create_ticket", "refund_payment"


@pytest.fixture
def launch(tmp_path: Path) -> Path:
    """Two write tools, launched for two tenants; one is refused for all others, the other left to the defaults."""
    text = (
        policy(TICKET, LAUNCHED % TICKET, TENANT)
        + policy(TICKET, f"match: {{path: /tools/{TICKET}}}", TENANT, "mode: deny")
        + policy(REFUND, LAUNCHED % REFUND, TENANT)
    )
    return policy_folder(tmp_path / "policies", text)


def test_two_tools_are_launched_for_some_tenants(tmp_path: Path, launch: Path, tool: Tool) -> None:
    """Theirs are guarded; everybody else's are refused where a policy denies them, and are unmatched writes where none
    speaks for them: guarded by their ids, and refused without."""
    with processes.proxy(tmp_path, launch, tool.url, processes.sqlite_url(tmp_path)) as proxy:

        def asked(run: str, name: str, *tenant: str) -> Answer:
            return ask(proxy.port, call(run, *(("X-Tenant-Id", one) for one in tenant), tool=name))

        for tenant in ("acme", "globex"):
            for name in (TICKET, REFUND):
                run = f"{tenant}-{name}"
                assert [asked(run, name, tenant).outcome for _ in range(2)] == ["executed", "replayed"]
                assert len(tool.executions(run)) == 1
        assert asked("initech", TICKET, "initech").said == (403, "", "denied")
        assert not tool.executions("initech")
        assert [asked("initech", REFUND, "initech").outcome for _ in range(2)] == ["executed", "replayed"]
        proxy.await_line("request", run_id="initech", tool="_unmatched", outcome="replayed")
        nameless = request(f"/tools/{REFUND}", ("X-Tenant-Id", "initech"), body=b"{}")
        assert ask(proxy.port, nameless).said == (400, "", "key-missing")
        for name in (TICKET, REFUND):
            assert asked("nobody", name).said == (400, "", "key-missing")
        assert not tool.executions("nobody")
        assert (
            proxy.metric("holdfast_requests_total", tool=TICKET, outcome="refused") == 1
        )  # who names no tenant has no tool yet


def test_denied_call_is_refused_before_its_body_is_read(house: House) -> None:
    """Nothing is forwarded, nothing is waited for, and no SDK need try again."""
    run = house.run()
    answer = house.ask(run, tool="denied")
    assert answer.said == (403, "", "denied")
    assert (answer.json()["retry"], answer.get("x-should-retry")) == ("never", "false")
    assert answer.get("Connection") == ""
    with house.caller() as caller:
        head = house.call(run, ("Content-Length", "1000000"), tool="denied", body=b"")
        answer = caller.send(head).answer()
        assert (answer.status, answer.get("Connection")) == (403, "close")
    assert not house.executions(run)
    line = house.proxy.await_line("request", run_id=run, problem="denied")
    assert (line["tool"], line["outcome"]) == ("denied", "refused")
