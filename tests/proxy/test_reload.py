"""Policies that change under a running proxy (fault 61): a good change takes force, a bad one is told, no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import ask
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.tools import Gate, Tool, waits

pytestmark = pytest.mark.fault(61)


def test_bad_policy_at_start_ends_with_its_faults_on_stderr(tmp_path: Path, tool: Tool) -> None:
    """There is no last good set yet: the process says what is wrong, and where, and ends with 1 before it listens."""
    wrong = policy("act", "timeouts: {connect: soon}", "onMissing: perhaps") + policy("act")
    policies = policy_folder(tmp_path / "policies", wrong)
    store = processes.sqlite_url(tmp_path)
    with processes.proxy(tmp_path / "p", policies, tool.url, store, started=False) as proxy:
        assert proxy.wait() == 1
        for word in ("tools.yaml:5:", "connect", "tools.yaml:6:", "onMissing", "act"):
            assert word in proxy.errors
        assert "Traceback" not in proxy.errors
        assert not proxy.lines()
    assert not (tmp_path / "ledger.db").exists()


def test_missing_folder_at_start_is_told(tmp_path: Path, tool: Tool) -> None:
    """A folder that is not there is a fault like any other."""
    with processes.proxy(tmp_path / "p", tmp_path / "nowhere", tool.url, "memory://", started=False) as proxy:
        assert proxy.wait() == 1
        assert "nowhere" in proxy.errors
        assert "Traceback" not in proxy.errors


def test_good_change_takes_force_and_a_bad_one_keeps_the_last_good_set(tmp_path: Path, tool: Tool) -> None:
    """Live, without a dropped connection: each change is counted and logged, and calls in flight keep the rules that
    they began with."""
    folder = policy_folder(tmp_path / "policies", policy("act"))
    with processes.proxy(tmp_path / "p", folder, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        house, gate = House(proxy, tool), Gate()
        assert proxy.metric("holdfast_policy_generation") == 1
        before = house.call("before", script=waits(gate))
        with house.caller() as caller, house.caller() as kept:
            caller.send(before)
            gate.await_reached()
            assert kept.send(house.call("kept")).answer().outcome == "executed"

            policy_folder(folder, policy("act", "mode: off"))
            proxy.await_line("policies.accepted", generation=2)
            assert house.ask("off").outcome == "unprotected"
            assert kept.send(house.call("kept-2")).answer().outcome == "unprotected"

            policy_folder(folder, policy("act", "mode: sometimes"))
            rejected = proxy.await_line("policies.rejected")
            assert "tools.yaml:5:" in rejected["detail"]
            assert "sometimes" in rejected["detail"]
            assert house.ask("still off").outcome == "unprotected"
            assert proxy.metric("holdfast_policy_reloads_total", result="rejected") == 1
            assert proxy.metric("holdfast_policy_rejected") == 1
            assert proxy.get("/readyz")[0] == 200

            gate.open()
            assert caller.answer().outcome == "executed"

        policy_folder(folder, policy("act"))
        proxy.await_line("policies.accepted", generation=3)
        assert ask(house.port, before).outcome == "replayed"
        assert proxy.metric("holdfast_policy_generation") == 3
        assert proxy.metric("holdfast_policy_reloads_total", result="accepted") == 2
        assert proxy.metric("holdfast_policy_rejected") == 0
    assert len(tool.executions("before")) == 1


def test_change_of_the_key_rules_is_heeded_by_the_next_request(tmp_path: Path, tool: Tool) -> None:
    """Which headers are an identity is the policies' word, from the moment that they change."""
    folder = policy_folder(tmp_path / "policies", policy("act"))
    with processes.proxy(tmp_path / "p", folder, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        house = House(proxy, tool)
        odd = (("X-Order", "o-1"), ("X-Order", "o-2"))
        assert house.ask("r", *odd).outcome == "executed"
        policy_folder(folder, policy("act", "key: {from: [[header:X-Order]]}"))
        proxy.await_line("policies.accepted", generation=2)
        assert house.ask("r", *odd).problem == "bad-request"
        assert [house.ask("r", odd[0]).outcome for _ in range(2)] == ["executed", "replayed"]
        assert house.ask("r").problem == "key-missing"


def test_config_map_swap_is_a_change(tmp_path: Path, tool: Tool) -> None:
    """Kubernetes replaces a mounted ConfigMap by moving one link; the files that are read keep their names."""
    folder = tmp_path / "mounted"
    policy_folder(folder / "..one", policy("act"))
    (folder / "..data").symlink_to("..one")
    (folder / "tools.yaml").symlink_to("..data/tools.yaml")
    with processes.proxy(tmp_path / "p", folder, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        house = House(proxy, tool)
        assert house.ask("r").outcome == "executed"
        policy_folder(folder / "..two", policy("act", "mode: off"))
        (folder / "..new").symlink_to("..two")
        (folder / "..new").rename(folder / "..data")
        proxy.await_line("policies.accepted", generation=2)
        assert until(lambda: house.ask("r").outcome == "unprotected")
