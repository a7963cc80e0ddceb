"""Two real proxies on one real Redis, operated: rulings made at one are heard at the other, and so is lost memory."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.proxy import processes
from tests.proxy.callers import Answer
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import PATIENCE_S, until
from tests.proxy.test_replicas import Pair, running
from tests.proxy.tools import Gate, Tool, waits
from tests.redis_server import held_port, redis_server

REFUSED = (503, "refused", "store-unavailable")
RULING = {
    "outcome": "executed", "reason": "OPS-1", "actor": "ada", "response": {"status": 201, "body": {"id": "tkt_1"}},
}  # fmt: skip


def post(house: House, path: str, told: Any) -> Any:
    """Decide something at a proxy's admin port."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{house.proxy.admin_port}{path}", data=json.dumps(told).encode(),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def asked(house: House, run: str) -> tuple[int, str, str]:
    """Call a tool and return what was said."""
    return house.ask(run).said


def test_caller_held_at_one_proxy_gets_the_ruling_made_at_the_other_at_once(
    tmp_path: Path, tool: Tool, database: RedisDatabase
) -> None:
    """By a wake-up, while the first still listens for the tool's reply; the reply, when it comes, is a conflict and
    changes nothing."""
    gate = Gate()
    with running(tmp_path, tool, database.url, polls=False) as pair:
        run = pair.one.run()
        first = pair.one.ask(run, tool="quick", script=waits(gate))
        assert first.said == (504, "unknown", "outcome-unknown")
        with pair.one.caller() as held:
            held.send(pair.one.call(run, tool="quick"))
            until(lambda: pair.one.proxy.metric("holdfast_store_duration_seconds_count", op="watch") > 0, "it listens")
            ruled = post(pair.other, f"/v1/operations/{first.get('Holdfast-Operation')}/resolve", RULING)
            answer: Answer = held.answer()
        assert ruled["state"] == "completed"
        assert (answer.status, answer.json()) == (201, {"id": "tkt_1"})
        gate.open()
        pair.one.proxy.await_line("settled.conflict", level="error")
        assert pair.one.proxy.metric("holdfast_late_conflicts_total", tool="quick") == 1
        for house in (pair.one, pair.other):
            assert house.ask(run, tool="quick").json() == {"id": "tkt_1"}


def both_refuse(pair: Pair) -> None:
    """Return once both proxies refuse writes."""
    for house in (pair.one, pair.other):
        until(lambda proxy=house.proxy: proxy.metric("holdfast_store_memory_lost") == 1, "it notices")  # type: ignore[misc]
        assert asked(house, "while-refusing") == REFUSED
        assert len(house.proxy.lines("store.memory-lost", level="error")) == 1


def beats(house: House) -> float:
    """Return how many heartbeats a proxy has had answered."""
    return house.proxy.metric("holdfast_store_duration_seconds_count", op="beat")


@pytest.mark.fault(45)
def test_flush_has_both_proxies_refuse_until_an_operator_accepts_at_one_of_them(tmp_path: Path, tool: Tool) -> None:
    """Within two heartbeats, and over within one; a proxy that is started in between refuses from its first moment."""
    with redis_server(tmp_path) as port, running(tmp_path, tool, f"redis://127.0.0.1:{port}/0") as pair:
        assert asked(pair.one, "before")[0] == 200
        with redis.Redis(port=port) as client:
            client.flushall()
        both_refuse(pair)
        policies = policy_folder(tmp_path / "third", policy("act"))
        with processes.proxy(tmp_path / "3", policies, tool.url, f"redis://127.0.0.1:{port}/0") as third:
            assert asked(House(third, tool), "third") == REFUSED
        told = post(pair.other, "/v1/store/accept", {})
        assert told["accepted"] is True
        assert asked(pair.other, "after")[0] == 200
        until(lambda: asked(pair.one, "after-too")[0] == 200, "the other proxy hears of it")
        assert not tool.executions("third")


@pytest.mark.fault(45)
def test_restart_from_an_old_snapshot_has_both_proxies_refuse(tmp_path: Path, tool: Tool) -> None:
    """A call that ran after the snapshot is unknown to the server: it does not run again."""
    server, held = contextlib.ExitStack(), contextlib.ExitStack()
    port = held.enter_context(held_port())
    server.enter_context(redis_server(tmp_path, port=port))
    with held, server, running(tmp_path, tool, f"redis://127.0.0.1:{port}/0") as pair:
        with redis.Redis(port=port) as client:
            client.save()
        assert asked(pair.one, "after-the-snapshot")[0] == 200
        before = beats(pair.one)
        until(lambda: beats(pair.one) > before + 1, "a heartbeat after the snapshot")
        server.close()
        with redis_server(tmp_path, port=port):
            both_refuse(pair)
            assert asked(pair.other, "after-the-snapshot") == REFUSED
            assert len(tool.executions("after-the-snapshot")) == 1


def test_process_with_a_tail_open_stops_at_once(tmp_path: Path, policies: Path) -> None:
    """Whoever follows the log gets the rest of it, and an end."""
    with processes.proxy(tmp_path / "p", policies, "http://127.0.0.1:9", processes.sqlite_url(tmp_path)) as proxy:
        url = f"http://127.0.0.1:{proxy.admin_port}/v1/events"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as tail:
            tail.readline()
            proxy.process.terminate()
            rest = tail.read()
        assert proxy.wait() == 0
        assert b"proxy.draining" in rest
