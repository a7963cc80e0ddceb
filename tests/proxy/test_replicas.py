"""Two proxies on one Redis: one ledger, whichever of them is asked."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proxy import processes, tools
from tests.proxy.callers import ask
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House, policy, policy_folder, unaccepting
from tests.proxy.processes import until
from tests.proxy.tools import Gate, Script, Tool, ends_after, says, waits

REPLY = b"HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: 6\r\n\r\nticket"
POLICIES = (
    policy("act", "limits: {waitersPerKey: 1000}")
    + policy("quick", "timeouts: {connect: 900ms, upstream: 1s, hold: 30s, late: 60s}")
    + policy("narrow", "limits: {inFlight: 2}")
)


@dataclass
class Pair:
    """Two proxies in front of the same tool."""

    one: House
    other: House

    @property
    def tool(self) -> Tool:
        """The tool behind both."""
        return self.one.tool


@contextlib.contextmanager
def running(
    folder: Path, tool: Tool, url: str, *arguments: str, hasty: bool = False, polls: bool = True
) -> Iterator[Pair]:
    """Run two proxies on one ledger."""
    policies = policy_folder(folder / "policies", POLICIES)
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                processes.proxy(
                    folder / name, policies, tool.url, url, *arguments, started=False, hasty=hasty, polls=polls
                )
            )
            for name in ("1", "2")
        ]
        for proxy in started:
            proxy.await_line("proxy.started")
        yield Pair(*(House(proxy, tool) for proxy in started))


@pytest.fixture
def pair(tmp_path: Path, tool: Tool, database: RedisDatabase) -> Iterator[Pair]:
    """Two proxies of the test's own, with a short lease."""
    with running(tmp_path, tool, database.url, hasty=True) as both:
        yield both


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, redis_port: int) -> Iterator[Pair]:
    """Two proxies that outlive their tests. They hear of each other by wake-ups alone."""
    with (
        tools.tool() as tool,
        running(tmp_path_factory.mktemp("pair"), tool, f"redis://127.0.0.1:{redis_port}/999", polls=False) as both,
    ):
        yield both


def await_joined(house: House, before: float) -> None:
    """Wait until a proxy watches a record of the other one's."""
    until(lambda: house.proxy.metric("holdfast_store_duration_seconds_count", op="watch") > before)


def watches(house: House) -> float:
    """How often a proxy has asked to be told of a change."""
    return house.proxy.metric("holdfast_store_duration_seconds_count", op="watch")


@pytest.mark.fault(1)
def test_second_attempt_at_the_other_proxy_joins_and_gets_the_same_bytes(lasting: Pair) -> None:
    """One forward, by the first; the second is told as soon as it has ended, with the same status, fields and body."""
    run, gate, before = lasting.one.run(), Gate(), watches(lasting.other)
    data = lasting.one.call(run, script=waits(gate, says(REPLY)))
    with lasting.one.caller() as first, lasting.other.caller() as second:
        first.send(data)
        gate.await_reached()
        second.send(data)
        await_joined(lasting.other, before)
        gate.open()
        executed, joined = first.answer(), second.answer()
    assert (executed.outcome, joined.outcome) == ("executed", "joined")
    assert executed.body == joined.body == b"ticket"
    assert executed.get("X-Kept") == joined.get("X-Kept") == "yes"
    assert executed.get("Holdfast-Operation") == joined.get("Holdfast-Operation")
    assert ask(lasting.other.port, data).outcome == "replayed"
    assert len(lasting.tool.executions(run)) == 1


@pytest.mark.fault(2)
def test_crowd_at_both_proxies_is_one_execution_and_one_subscription(lasting: Pair) -> None:
    """Simultaneous duplicates at two proxies: one execution, its bytes for everybody, one watch for a whole process."""
    run, gate = lasting.one.run(), Gate()
    data = lasting.one.call(run, script=waits(gate, says(REPLY)))
    before = watches(lasting.one) + watches(lasting.other)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(house.caller()) for _ in range(150) for house in (lasting.one, lasting.other)]
        for caller in crowd:
            caller.send(data)
        gate.await_reached()
        until(lambda: watches(lasting.one) + watches(lasting.other) > before)
        gate.open()
        answers = [caller.answer() for caller in crowd]
    assert {answer.body for answer in answers} == {b"ticket"}
    counted = Counter(answer.outcome for answer in answers)
    assert counted["executed"] == 1
    assert set(counted) <= {"executed", "joined", "replayed"}
    assert watches(lasting.one) + watches(lasting.other) <= before + 6
    assert len(lasting.tool.executions(run)) == 1


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param(says(b"HTTP/1.1 429 Slow\r\nContent-Length: 4\r\n\r\nslow"), (429, "not-executed", ""), id="429"),
        pytest.param(says(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nslow"), (500, "unknown", ""), id="500"),
        pytest.param(ends_after(b"", reset=True), (502, "unknown", "outcome-unknown"), id="reset"),
        pytest.param(
            ends_after(b"HTTP/1.1 200 OK\r\n\r\nxx"), (409, "refused", "result-unavailable"), id="close-delimited"
        ),
    ],
)
@pytest.mark.fault(20, 24, 26)
def test_outcome_of_every_kind_is_shared_with_who_joined_elsewhere(
    lasting: Pair, script: Script, said: tuple[int, str, str]
) -> None:
    """Joiners at the other proxy get what the first caller got, and no forward of their own."""
    run, gate, before = lasting.one.run(), Gate(), watches(lasting.other)
    data = lasting.one.call(run, script=waits(gate, script))
    with lasting.one.caller() as first, lasting.other.caller() as second:
        first.send(data)
        gate.await_reached()
        second.send(data)
        await_joined(lasting.other, before)
        gate.open()
        executed, joined = first.answer(), second.answer()
    assert joined.said == said
    if joined.problem == "":
        assert (executed.status, executed.outcome) == (joined.status, joined.outcome)
        assert executed.body == joined.body == b"slow"
    assert len(lasting.tool.executions(run)) == 1


@pytest.mark.fault(19)
def test_not_sent_is_shared_with_who_joined_elsewhere(tmp_path: Path, tool: Tool, database: RedisDatabase) -> None:
    """Both learn that it provably did not run; the key is free for whoever asks next, at either proxy."""
    with unaccepting() as silent:
        text = policy(
            "act", f'upstream: {{url: "http://127.0.0.1:{silent}"}}', "timeouts: {connect: 1s}", "retry: {attempts: 1}"
        )
        policies = policy_folder(tmp_path / "policies", text)
        with (
            processes.proxy(tmp_path / "1", policies, tool.url, database.url) as one,
            processes.proxy(tmp_path / "2", policies, tool.url, database.url) as other,
        ):
            houses = House(one, tool), House(other, tool)
            data = houses[0].call("r")
            with houses[0].caller() as first, houses[1].caller() as second:
                first.send(data)
                until(lambda: one.metric("holdfast_store_duration_seconds_count", op="claim") == 1)
                second.send(data)
                answers = first.answer(), second.answer()
            assert [answer.said for answer in answers] == [(504, "not-executed", "not-sent")] * 2
            policy_folder(tmp_path / "policies", policy("act"))
            other.await_line("policies.accepted")
            assert ask(other.port, data).said == (200, "executed", "")
    assert [one.get(b"Holdfast-Attempt") for one in tool.executions("r")] == [b"2"]


def test_key_reuse_is_refused_at_the_other_proxy_too(lasting: Pair) -> None:
    """The fingerprint is in the record: in flight or completed, another call under the key is a 422 anywhere."""
    run, gate = lasting.one.run(), Gate()
    with lasting.one.caller() as first:
        first.send(lasting.one.call(run, script=waits(gate)))
        gate.await_reached()
        assert lasting.other.ask(run, body=b"{}").said == (422, "refused", "key-reused")
        gate.open()
        assert first.answer().status == 200
    assert lasting.other.ask(run, body=b"{}").said == (422, "refused", "key-reused")
    assert len(lasting.tool.executions(run)) == 1


@pytest.mark.fault(22)
def test_late_result_is_had_from_the_other_proxy(lasting: Pair) -> None:
    """The tool's time is over, the first proxy listens on: who asks the other one is held, and gets the late truth."""
    run, gate, before = lasting.one.run(), Gate(), watches(lasting.other)
    data = lasting.one.call(run, tool="quick", script=waits(gate, says(REPLY)))
    assert ask(lasting.one.port, data).said == (504, "unknown", "outcome-unknown")
    with lasting.other.caller() as second:
        second.send(data)
        await_joined(lasting.other, before)
        gate.open()
        answer = second.answer()
    assert (answer.status, answer.body) == (200, b"ticket")
    assert answer.get("Holdfast-Late") == "true"
    assert ask(lasting.other.port, data).get("Holdfast-Late") == "true"
    assert len(lasting.tool.executions(run)) == 1


@pytest.mark.fault(4, 6)
def test_result_of_a_caller_that_hung_up_is_had_from_the_other_proxy(lasting: Pair) -> None:
    """Whoever retries elsewhere after its own time-out gets what the first attempt brought."""
    run, gate = lasting.one.run(), Gate()
    data = lasting.one.call(run, script=waits(gate, says(REPLY)))
    with lasting.one.caller() as first:
        first.send(data)
        gate.await_reached()
    gate.open()
    answer = ask(lasting.other.port, data)
    assert (answer.status, answer.body) == (200, b"ticket")
    assert len(lasting.tool.executions(run)) == 1


@pytest.mark.fault(55)
def test_killed_owner_is_noticed_by_the_other_proxy_within_lease_and_sweep(pair: Pair) -> None:
    """Joiners elsewhere are told unknown when the lease has run out, the metric says so, and nothing is run again."""
    gate = Gate()
    data = pair.one.call("r", script=waits(gate))
    alone = pair.one.call("nobody asks", script=waits(gate))
    with pair.one.caller() as first, pair.one.caller() as third, pair.other.caller() as second:
        first.send(data)
        third.send(alone)
        pair.tool.await_executions("r")
        pair.tool.await_executions("nobody asks")
        second.send(data)
        await_joined(pair.other, 0)
        pair.one.proxy.kill()
        told = second.answer()
        assert told.said == (502, "unknown", "outcome-unknown")
        until(lambda: pair.other.proxy.metric("holdfast_unknown_operations", tool="act") == 2)
    assert ask(pair.other.port, data).said == ask(pair.other.port, alone).said == (409, "unknown", "outcome-unknown")
    gate.open()
    assert len(pair.tool.executions("r")) == len(pair.tool.executions("nobody asks")) == 1


@pytest.mark.fault(6)
def test_lease_of_a_slow_tool_is_renewed_for_as_long_as_it_takes(
    tmp_path: Path, tool: Tool, database: RedisDatabase
) -> None:
    """A forward that takes longer than its lease never looks dead to the other proxy."""
    gate = Gate()
    with running(tmp_path, tool, database.url, "--lease", "6s", hasty=True) as pair:
        data = pair.one.call("r", script=waits(gate, says(REPLY)))
        with pair.one.caller() as first, pair.other.caller() as second:
            first.send(data)
            gate.await_reached()
            second.send(data)
            # Renewals come each third of a lease: with four of them more than a lease is over.
            until(lambda: pair.one.proxy.metric("holdfast_store_duration_seconds_count", op="renew") >= 4)
            assert not pair.other.proxy.lines("lease.lapsed")
            gate.open()
            assert (first.answer().outcome, second.answer().outcome) == ("executed", "joined")
    assert len(tool.executions("r")) == 1


def test_joiners_of_another_proxys_calls_take_no_place_in_flight(lasting: Pair) -> None:
    """`limits.inFlight` counts what this process has with the tool: who only waits here for the other one's forwards
    keeps nobody from a forward of their own."""
    runs, gate = [lasting.one.run() for _ in range(4)], Gate()
    data = [lasting.one.call(run, tool="narrow", script=waits(gate)) for run in runs]
    before = watches(lasting.other)
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(lasting.one.caller()).send(one) for one in data[:2]]
        for run in runs[:2]:
            lasting.tool.await_executions(run)
        joined = [stack.enter_context(lasting.other.caller()).send(one) for one in data[:2]]
        until(lambda: watches(lasting.other) >= before + 2)
        own = [stack.enter_context(lasting.other.caller()).send(one) for one in data[2:]]
        for run in runs[2:]:
            lasting.tool.await_executions(run)
        assert lasting.other.ask(lasting.one.run(), tool="narrow").said == (503, "refused", "overloaded")
        gate.open()
        assert [caller.answer().outcome for caller in first + own] == ["executed"] * 4
        assert [caller.answer().outcome for caller in joined] == ["joined"] * 2
