"""One process as a whole: how it starts, what it takes up, what it costs when nothing happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests.proxy import processes
from tests.proxy.callers import ask, callers
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.tools import Gate, Tool, says, waits
from tests.redis_server import held_port, redis_server
from tests.tracked import ROOT

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nticket"


def test_start_is_quick_and_idling_costs_little(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """Ready after little processor time, resident in little memory, and asleep when nothing happens."""
    with processes.proxy(tmp_path / "p", policies, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        assert proxy.cpu_s() < 1.5
        assert proxy.memory_bytes() < 70 * 1024 * 1024
        used, began = proxy.cpu_s(), time.monotonic()
        until(lambda: time.monotonic() - began > 1)
        assert proxy.cpu_s() - used < 0.1


def test_unknowns_of_an_earlier_life_are_counted_after_a_restart(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """What was left in flight is unknown from the first moment, and the metrics say how many and since when."""
    gate, store = Gate(), processes.sqlite_url(tmp_path)
    with processes.proxy(tmp_path / "p", policies, tool.url, store) as proxy:
        house = House(proxy, tool)
        with house.caller() as one, house.caller() as other:
            one.send(house.call("a", script=waits(gate)))
            other.send(house.call("b", script=waits(gate)))
            tool.await_executions("a")
            tool.await_executions("b")
            proxy.kill()
    gate.open()
    with processes.proxy(tmp_path / "p", policies, tool.url, store) as proxy:
        assert {line["outcome"] for line in proxy.lines("lease.lapsed")} == {"unknown"}
        until(lambda: proxy.metric("holdfast_unknown_operations", tool="act") == 2)
        assert proxy.metric("holdfast_unknown_oldest_age_seconds") > 0
        assert proxy.metric("holdfast_lapsed_leases_total", tool="act") == 2


@pytest.mark.fault(34)
def test_store_that_turns_out_unfit_when_it_comes_back_is_told_and_asked_again(
    tmp_path: Path, policies: Path, tool: Tool
) -> None:
    """A server that may evict claims is not used, however late it is met: loudly not ready, until it is set right."""
    with (
        held_port() as port,
        processes.proxy(tmp_path / "p", policies, tool.url, f"redis://127.0.0.1:{port}/0", started=False) as proxy,
    ):
        proxy.await_line("store.unreachable")
        settings = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
        with redis_server(tmp_path, *settings, port=port), redis.Redis(port=port) as server:
            told = proxy.await_line("store.unfit")
            assert "noeviction" in told["detail"]
            assert House(proxy, tool).ask("r").problem == "store-unavailable"
            assert proxy.get("/readyz")[0] == 503
            server.config_set("maxmemory-policy", "noeviction")
            proxy.await_line("proxy.started")
            assert until(lambda: House(proxy, tool).ask("r").status == 200)
    assert len(tool.executions("r")) == 1


def test_reader_of_the_log_that_stops_reading_stops_nobody(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """A full pipe behind stdout costs log lines and nothing else."""
    read, write = os.pipe()
    arguments = ["--policies", str(policies), "--upstream", tool.url, "--store", "memory://", "--listen", "127.0.0.1:0"]
    errors = tmp_path / "errors"
    with errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", processes.BOOT, "proxy", *arguments, "--health", "127.0.0.1:0",
             "--admin", "127.0.0.1:0"],
            stdout=write, stderr=err, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        found = until(lambda: processes.ANNOUNCED.search(errors.read_text()))
        assert found is not None
        port = int(found[1])
        data = House(None, tool).call("r")  # type: ignore[arg-type]  # only its tool is asked for
        with callers(port, 1) as (caller,):
            for _ in range(1_500):  # a pipe holds 64 KiB: some 200 lines
                assert caller.send(data).answer().status == 200
    finally:
        process.kill()
        process.wait()
        os.close(read)
        os.close(write)


def test_call_that_runs_costs_two_round_trips_and_its_replay_none(tmp_path: Path, tool: Tool) -> None:
    """To the store, that is; and memory stays where it was."""
    policies = policy_folder(tmp_path / "policies", policy("act"))
    with processes.proxy(tmp_path / "p", policies, tool.url, processes.sqlite_url(tmp_path)) as proxy:
        house = House(proxy, tool)
        name = tool.script(says(REPLY))
        with house.caller() as caller:
            for number in range(300):
                caller.send(house.call(f"warm-{number}", ("X-Script", name.decode()))).answer()
            memory, before = proxy.memory_bytes(), _round_trips(proxy)
            for number in range(500):
                for _ in range(2):
                    answer = caller.send(house.call(f"r-{number}", ("X-Script", name.decode()))).answer()
                assert answer.outcome == "replayed"
            assert _round_trips(proxy) == before + 1_000
            assert proxy.memory_bytes() - memory < 12 * 1024 * 1024


def _round_trips(proxy: processes.Proxy) -> float:
    # A renewal that meets a settlement on its way reads once more: that is the lease's business, not a call's.
    return sum(proxy.metric("holdfast_store_duration_seconds_count", op=op) for op in ("claim", "settle", "watch"))


def test_terminated_while_the_store_was_never_reached_ends_at_once(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """Nothing is owed to anybody yet."""
    with (
        held_port() as port,
        processes.proxy(tmp_path / "p", policies, tool.url, f"redis://127.0.0.1:{port}/0", started=False) as proxy,
    ):
        proxy.await_line("store.unreachable")
        house = House(proxy, tool)
        assert ask(house.port, house.call("r")).problem == "store-unavailable"
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert "Traceback" not in proxy.errors
        assert not proxy.lines("task.failed")
