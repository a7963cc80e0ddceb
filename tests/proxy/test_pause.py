"""A process that stands still for longer than its lease (fault 57): its late truth is taken, and nothing runs twice."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import ask
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House
from tests.proxy.processes import until
from tests.proxy.tools import Gate, Tool, ends_after, says, waits

pytestmark = pytest.mark.fault(57)

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nticket"


def test_frozen_owner_is_called_unknown_and_its_late_truth_is_taken(
    tmp_path: Path, policies: Path, tool: Tool, database: RedisDatabase
) -> None:
    """While it stands still the other proxy tells unknown, to the one call and to the other; once it goes on, the reply
    that it had all along completes the record for everybody, and a call that was lost stays unknown."""
    with (
        processes.proxy(tmp_path / "1", policies, tool.url, database.url, hasty=True) as frozen,
        processes.proxy(tmp_path / "2", policies, tool.url, database.url, hasty=True) as awake,
    ):
        owner, other, gates = House(frozen, tool), House(awake, tool), (Gate(), Gate())
        data = owner.call("r", script=waits(gates[0], says(REPLY)))
        lost = owner.call("lost", script=waits(gates[1], ends_after(b"", reset=True)))
        with owner.caller() as first, owner.caller() as second:
            first.send(data)
            second.send(lost)
            for gate in gates:
                gate.await_reached()
            frozen.signal(signal.SIGSTOP)
            for gate in gates:
                gate.open()
            until(lambda: awake.metric("holdfast_unknown_operations", tool="act") == 2)
            assert ask(other.port, data).said == ask(other.port, lost).said == (409, "unknown", "outcome-unknown")
            frozen.signal(signal.SIGCONT)
            answer = first.answer()
            assert (answer.status, answer.body) == (200, b"ticket")
            assert second.answer().said == (502, "unknown", "outcome-unknown")
        replayed = until(lambda: (one := ask(other.port, data)).status == 200 and one)
        assert (replayed.outcome, replayed.body, replayed.get("Holdfast-Late")) == ("replayed", b"ticket", "true")
        assert ask(other.port, lost).said == (409, "unknown", "outcome-unknown")
        assert awake.lines("lease.lapsed") or frozen.lines("lease.lapsed")
        until(lambda: awake.metric("holdfast_unknown_operations", tool="act") == 1)
    assert len(tool.executions("r")) == len(tool.executions("lost")) == 1


def test_frozen_owner_that_waits_on_takes_its_lease_up_again(
    tmp_path: Path, policies: Path, tool: Tool, database: RedisDatabase
) -> None:
    """A tool that is still at work when the process goes on is awaited; its reply is the late truth."""
    with (
        processes.proxy(tmp_path / "1", policies, tool.url, database.url, hasty=True) as frozen,
        processes.proxy(tmp_path / "2", policies, tool.url, database.url, hasty=True) as awake,
    ):
        owner, other, gate = House(frozen, tool), House(awake, tool), Gate()
        data = owner.call("r", script=waits(gate, says(REPLY)))
        with owner.caller() as first, other.caller() as later:
            first.send(data)
            gate.await_reached()
            frozen.signal(signal.SIGSTOP)
            until(lambda: awake.metric("holdfast_unknown_operations", tool="act") == 1)
            frozen.signal(signal.SIGCONT)
            later.send(data)
            gate.open()
            assert first.answer().status == 200
            # Held if the owner had said by then that it listens again, else told that nobody knows.
            assert later.answer().said in {
                (200, "replayed", ""),
                (200, "joined", ""),
                (409, "unknown", "outcome-unknown"),
            }
        assert until(lambda: (one := ask(other.port, data)).status == 200 and one).body == b"ticket"
    assert len(tool.executions("r")) == 1


def test_frozen_process_alone_takes_up_where_it_stood(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """With a ledger of its own nobody else could call it unknown; its own sweep may, and the reply ends that."""
    with processes.proxy(tmp_path / "1", policies, tool.url, processes.sqlite_url(tmp_path), hasty=True) as proxy:
        house, gate = House(proxy, tool), Gate()
        data = house.call("r", script=waits(gate, says(REPLY)))
        with house.caller() as first:
            first.send(data)
            gate.await_reached()
            renewals = proxy.metric("holdfast_store_duration_seconds_count", op="renew")
            proxy.signal(signal.SIGSTOP)
            _pass_a_lease()
            proxy.signal(signal.SIGCONT)
            until(lambda: proxy.metric("holdfast_store_duration_seconds_count", op="renew") > renewals)
            gate.open()
            assert first.answer().status == 200
        assert ask(house.port, data).outcome == "replayed"
    assert len(tool.executions("r")) == 1


def _pass_a_lease() -> None:
    """The process under test stands still: there is nothing of it to wait on but the clock."""
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 3.3)
