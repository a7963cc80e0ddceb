"""SIGTERM (fault 56): what can finish does, what cannot is unknown and written down, and the process goes in time."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import Caller, ask
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import Proxy, until
from tests.proxy.relays import Relay, claims, settles
from tests.proxy.tools import Execution, Gate, Tool, Wire, says, waits

pytestmark = pytest.mark.fault(56)

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nticket"
READ = policy("search", "effect: read", "match: {path: /tools/search, method: [GET, POST]}")


@contextlib.contextmanager
def draining(folder: Path, tool: Tool, *arguments: str, store: str = "") -> Iterator[House]:
    """Run a proxy that is to be stopped."""
    policies = policy_folder(folder / "policies", policy("act") + READ)
    with processes.proxy(
        folder / "p", policies, tool.url, store or processes.sqlite_url(folder), *arguments, hasty=True
    ) as proxy:
        yield House(proxy, tool)


def terminate(proxy: Proxy) -> float:
    """Send SIGTERM, wait until it is heeded, and return when it was sent."""
    sent = time.monotonic()
    proxy.signal(signal.SIGTERM)
    proxy.await_line("proxy.draining")
    return sent


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_calls_within_the_grace_finish_and_the_rest_are_unknown(
    tmp_path: Path, tool: Tool, kind: str, request: pytest.FixtureRequest
) -> None:
    """Fifty calls of very different lengths: those that end in time are answered and kept, the others are told unknown
    and written down so before the process ends, on time."""
    store = request.getfixturevalue("database").url if kind == "redis" else ""
    quick, slow = Gate(), Gate()
    with draining(tmp_path, tool, "--grace", "5s", store=store) as house, contextlib.ExitStack() as stack:
        finishing = [house.call(f"quick-{number}", script=waits(quick, says(REPLY))) for number in range(25)]
        lasting = [house.call(f"slow-{number}", script=waits(slow)) for number in range(25)]
        opened = [stack.enter_context(Caller(house.port)).send(data) for data in finishing + lasting]
        for number in range(25):
            tool.await_executions(f"quick-{number}")
            tool.await_executions(f"slow-{number}")
        terminate(house.proxy)
        assert house.proxy.get("/readyz")[0] == 503
        quick.open()
        answers = [caller.answer() for caller in opened]
        assert house.proxy.wait() == 0
        assert house.proxy.lines("proxy.stopped")[0]["unknown"] == 25
        slow.open()
    assert {answer.said for answer in answers[:25]} == {(200, "executed", "")}
    assert {answer.said for answer in answers[25:]} == {(502, "unknown", "outcome-unknown")}
    with draining(tmp_path, tool, store=store) as house:
        # At once, and not when a lease has run out: it was written down.
        assert {ask(house.port, data).said for data in finishing} == {(200, "replayed", "")}
        assert {ask(house.port, data).said for data in lasting} == {(409, "unknown", "outcome-unknown")}
    assert all(len(tool.executions(f"{name}-{number}")) == 1 for name in ("quick", "slow") for number in range(25))


def test_idle_process_stops_at_once(tmp_path: Path, tool: Tool) -> None:
    """With nothing under way there is nothing to wait for, kept-alive connections or not."""
    with draining(tmp_path, tool) as house, house.caller() as idle:
        assert idle.send(house.call("r")).answer().status == 200
        terminate(house.proxy)
        assert house.proxy.wait() == 0  # long before the grace is over
        assert idle.closed()


def test_new_calls_are_refused_while_draining_and_duplicates_still_join(tmp_path: Path, tool: Tool) -> None:
    """After SIGTERM nothing new is claimed, and the answer says so; who asks for what is under way is still served."""
    gate = Gate()
    with draining(tmp_path, tool, "--grace", "60s") as house, house.caller() as first:
        data = house.call("r", script=waits(gate, says(REPLY)))
        first.send(data)
        gate.await_reached()
        with house.caller() as late, house.caller() as joiner:
            terminate(house.proxy)
            until(lambda: house.proxy.get("/readyz")[0] == 503)
            refused = until(lambda: (one := late.send(house.call("new")).answer()).status == 503 and one)
            assert refused.said == (503, "refused", "overloaded")
            assert refused.get("Connection") == "close"
            joiner.send(data)
            gate.open()
            assert (first.answer().outcome, joiner.answer().body) == ("executed", b"ticket")
        assert house.proxy.wait() == 0
    assert not tool.executions("new")
    assert len(tool.executions("r")) == 1


def test_claims_go_on_for_as_long_as_drain_accept_says(tmp_path: Path, tool: Tool) -> None:
    """A sidecar that is told to stop before its application has stopped asking serves it for that long."""
    with draining(tmp_path, tool, "--drain-accept", "30s") as house:
        terminate(house.proxy)
        assert house.proxy.get("/readyz")[0] == 503
        assert house.ask("r").said == (200, "executed", "")
        house.proxy.signal(signal.SIGTERM)  # asked twice: no more waiting
        assert house.proxy.wait() == 0


def test_second_signal_ends_the_waiting_and_leaves_nothing_in_flight(tmp_path: Path, tool: Tool) -> None:
    """Whoever asks twice is in a hurry: what is left is unknown, written down, and the process goes."""
    gate = Gate()
    with draining(tmp_path, tool, "--grace", "60s") as house, house.caller() as first:
        data = house.call("r", script=waits(gate))
        first.send(data)
        gate.await_reached()
        terminate(house.proxy)
        house.proxy.signal(signal.SIGINT)
        assert first.answer().said == (502, "unknown", "outcome-unknown")
        assert house.proxy.wait() == 0
        gate.open()
    with draining(tmp_path, tool) as house:
        assert ask(house.port, data).said == (409, "unknown", "outcome-unknown")
    assert len(tool.executions("r")) == 1


def test_read_under_way_finishes_within_the_grace(tmp_path: Path, tool: Tool) -> None:
    """Reads are forwards as well: one that ends within the grace is not cut, though no ledger knows of it."""
    gate, other = Gate(), Gate()

    def slow_stream(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        gate.pass_through()
        wire.send(b"5\r\nwhole\r\n0\r\n\r\n")

    with draining(tmp_path, tool, "--grace", "60s") as house, house.caller() as streaming, house.caller() as waiting:
        streaming.send(house.call("a", tool="search", script=slow_stream)).answer(head_only=True)
        waiting.send(house.call("b", tool="search", script=waits(other)))
        gate.await_reached()
        other.await_reached()
        sent = terminate(house.proxy)
        until(lambda: time.monotonic() - sent > 1.5)  # longer than what is left for answers once the grace is over
        gate.open()
        other.open()
        assert streaming.chunk() == b"half"
        assert streaming.chunk() == b"whole"
        assert streaming.chunk() == b""
        assert waiting.answer().status == 200
        assert house.proxy.wait() == 0


def test_read_that_outlasts_the_grace_is_cut_in_time(tmp_path: Path, tool: Tool) -> None:
    """A stream without an end does not keep the process: when the grace is over its caller is cut off."""
    with draining(tmp_path, tool, "--grace", "500ms") as house, house.caller() as caller:
        caller.send(house.call("r", tool="search", script=endless)).answer(head_only=True)
        assert caller.chunk() == b"half"
        terminate(house.proxy)
        assert caller.closed()
        assert house.proxy.wait() == 0


def endless(wire: Wire, execution: Execution) -> None:
    """Begin an answer and never end it."""
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    assert wire.hung_up()


def test_answer_that_still_streams_finishes_within_the_grace(tmp_path: Path, tool: Tool) -> None:
    """A write that is settled and whose large answer is on its way to its first caller is let finish."""
    gate = Gate()

    def large(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1_500_000)
        gate.pass_through()
        wire.send(b"x" * 500_000)

    with draining(tmp_path, tool, "--grace", "60s") as house, house.caller() as caller:
        caller.send(house.call("r", script=large)).answer(head_only=True)
        gate.await_reached()
        terminate(house.proxy)
        gate.open()
        assert len(caller.exactly(2_000_000)) == 2_000_000
        assert house.proxy.wait() == 0


def test_settlement_under_way_at_the_end_of_the_grace_is_waited_for(
    tmp_path: Path, tool: Tool, relay: Relay, database: RedisDatabase
) -> None:
    """A reply that is known and being written down when the waiting ends is neither lost nor called unknown."""
    with draining(tmp_path, tool, store=database.through(relay.port)) as house, house.caller() as caller:
        data = house.call("r", script=says(REPLY))
        gate = relay.hold(settles, reply=False)
        caller.send(data)
        gate.await_reached()
        terminate(house.proxy)
        house.proxy.signal(signal.SIGTERM)
        gate.open()
        answer = caller.answer()
        assert (answer.said, answer.body) == ((200, "executed", ""), b"ticket")
        assert house.proxy.wait() == 0
    with draining(tmp_path, tool, store=database.url) as house:
        assert ask(house.port, data).said == (200, "replayed", "")
    assert len(tool.executions("r")) == 1


def test_claim_under_way_at_the_end_of_the_grace_is_not_forwarded(
    tmp_path: Path, tool: Tool, relay: Relay, database: RedisDatabase
) -> None:
    """A claim that the store confirms after the waiting has ended is given back: nothing new is sent by then."""
    through = database.through(relay.port)
    with draining(tmp_path, tool, "--grace", "100ms", store=through) as house, house.caller() as caller:
        data = house.call("r", script=says(REPLY))
        gate = relay.hold(claims, reply=True)
        caller.send(data)
        gate.await_reached()
        sent = terminate(house.proxy)
        until(lambda: time.monotonic() - sent > 0.4)
        gate.open()
        answer = caller.answer()
        assert house.proxy.wait() == 0
    assert answer.status in {502, 503}
    assert answer.outcome in {"not-executed", "refused"}
    assert not tool.executions("r")
    with draining(tmp_path, tool, store=database.url) as house:
        assert ask(house.port, data).said == (200, "executed", "")
    assert len(tool.executions("r")) == 1


def test_known_result_is_written_while_stopping_though_the_store_was_away(
    tmp_path: Path, tool: Tool, relay: Relay, database: RedisDatabase
) -> None:
    """What waits in memory for the store gets its last chance at the end, without burning a processor meanwhile."""
    gate = Gate()
    with draining(tmp_path, tool, "--grace", "5s", store=database.through(relay.port)) as house:
        known = house.call("known", script=waits(gate, says(REPLY)))
        with house.caller() as caller:
            caller.send(known)
            gate.await_reached()
            relay.refusing = True
            relay.hang_up()
            gate.open()
            assert caller.answer().status == 200
        used = house.proxy.cpu_s()
        sent = terminate(house.proxy)
        until(lambda: time.monotonic() - sent > 0.5)
        assert house.proxy.cpu_s() - used < 0.4
        relay.refusing = False
        assert house.proxy.wait() == 0
        assert not house.proxy.lines("settle.given-up")
    with draining(tmp_path, tool, store=database.url) as house:
        assert ask(house.port, known).said == (200, "replayed", "")
    assert len(tool.executions("known")) == 1
