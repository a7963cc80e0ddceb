"""A process without a free file descriptor (fault 59): it refuses honestly, runs nothing twice, and recovers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import Answer, Caller, ask
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.tools import Gate, Tool, waits

pytestmark = pytest.mark.fault(59)


def test_exhausted_descriptors_are_refused_honestly_and_recovered_from(tmp_path: Path, tool: Tool) -> None:
    """Calls that cannot be dialled are told not sent, callers that cannot be accepted are closed or wait; nothing runs
    twice, and once there is room again everything is as before."""
    policies = policy_folder(tmp_path / "policies", policy("act", "retry: {attempts: 1}", "limits: {inFlight: 1000}"))
    with processes.proxy(tmp_path / "p", policies, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        house, gate = House(proxy, tool), Gate()
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(house.caller()) for _ in range(20)]  # accepted while that was possible
            for number, caller in enumerate(idle):
                assert caller.send(house.call(f"warm-{number}")).answer().status == 200
            proxy.limit_descriptors(proxy.descriptors() + 6)
            script = waits(gate)
            for number, caller in enumerate(idle):
                caller.send(house.call(f"r-{number}", script=script))
            flood = [stack.enter_context(Caller(proxy.port)) for _ in range(40)]
            for number, caller in enumerate(flood):
                with contextlib.suppress(OSError):
                    caller.send(house.call(f"f-{number}", script=script))
            refused = [answer for caller in idle[8:] if (answer := _refusal(caller))]
            gate.open()
            assert refused
            assert {answer.said for answer in refused} == {(502, "not-executed", "not-sent")}
            assert {answer.json()["safe_new_key"] for answer in refused} == {True}
            proxy.limit_descriptors(4_096)
        assert until(lambda: _asked(house, "after").status == 200)
        for run in (f"{kind}-{number}" for kind, count in (("r", 20), ("f", 40)) for number in range(count)):
            again = _until_served(house, run)
            assert again.outcome in {"executed", "replayed", "joined"}
            assert len(tool.executions(run)) == 1
        assert proxy.get("/livez")[0] == 200


def _refusal(caller: Caller) -> Answer | None:
    """Return what a caller was told, if it was refused by now."""
    caller.socket.settimeout(0.5)
    try:
        return caller.answer()
    except (TimeoutError, ConnectionError):
        return None


def _until_served(house: House, run: str) -> Answer:
    return until(lambda: (one := _asked(house, run)).status == 200 and one)


def _asked(house: House, run: str) -> Answer:
    return ask(house.port, house.call(run))


def test_new_connections_are_accepted_again_by_themselves(tmp_path: Path, tool: Tool) -> None:
    """A listener that could not accept does not give up, and does not spin."""
    policies = policy_folder(tmp_path / "policies", policy("act"))
    with processes.proxy(tmp_path / "p", policies, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        house = House(proxy, tool)
        assert house.ask("before").status == 200
        with house.caller() as open_before:
            assert open_before.send(house.call("held")).answer().status == 200
            proxy.limit_descriptors(proxy.descriptors())
            with contextlib.ExitStack() as stack:
                for _ in range(20):
                    stack.enter_context(Caller(proxy.port))
                used = proxy.cpu_s()
                for _ in range(30):
                    assert open_before.send(house.call("held")).answer().outcome == "replayed"
                assert proxy.cpu_s() - used < 2
                proxy.limit_descriptors(4_096)
        assert until(lambda: house.ask("after").status == 200)
    assert len(tool.executions("after")) == 1
