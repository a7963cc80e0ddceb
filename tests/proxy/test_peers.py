"""What the best Python peer does wrong, as stories that Holdfast passes.

idemkit 1.0.2 behind uvicorn was tried in each of these six situations: five of them led to a second execution, and in
the sixth half of the callers got errors from an exhausted pool. Nothing of it is needed to run these.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import ask, callers
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House
from tests.proxy.processes import until
from tests.proxy.tools import Execution, Gate, Tool, Wire, ends_after, says, waits

UNKNOWN_LATER = (409, "unknown", "outcome-unknown")


def tickets(house: House, run: str) -> int:
    """Count the tickets that the tool filed for a run."""
    return len(house.executions(run))


@pytest.mark.fault(20)
def test_reset_connection_is_not_run_again_by_the_retry(house: House) -> None:
    """The tool filed the ticket and its answer was lost. There: the key was released, and the retry filed another."""
    run = house.run()
    data = house.call(run, script=ends_after(b"", reset=True))
    assert ask(house.port, data).said == (502, "unknown", "outcome-unknown")
    for _ in range(3):
        assert ask(house.port, data).said == UNKNOWN_LATER
    assert tickets(house, run) == 1


@pytest.mark.fault(26)
def test_500_is_not_run_again_by_the_retry(house: House) -> None:
    """The tool filed the ticket and failed in rendering its answer. There: a 5xx was not kept, and the retry ran."""
    run = house.run()
    data = house.call(run, script=says(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"))
    assert (ask(house.port, data).status, tickets(house, run)) == (500, 1)
    for _ in range(3):
        assert ask(house.port, data).said == UNKNOWN_LATER
    assert tickets(house, run) == 1


@pytest.mark.fault(6, 22)
def test_slow_tool_is_not_run_again_when_its_lease_would_have_expired(
    tmp_path: Path, policies: Path, tool: Tool, database: RedisDatabase
) -> None:
    """The tool takes longer than the lock lives. There: the lock expired, and the next attempt ran beside the first."""
    gate = Gate()
    with processes.proxy(tmp_path / "p", policies, tool.url, database.url, "--lease", "6s", hasty=True) as proxy:
        house = House(proxy, tool)
        data = house.call("r", script=waits(gate))
        with house.caller() as first, house.caller() as second:
            first.send(data)
            gate.await_reached()
            # Renewals come each third of a lease: after four of them it would be over.
            until(lambda: proxy.metric("holdfast_store_duration_seconds_count", op="renew") >= 4)
            second.send(data)
            gate.open()
            answers = [first.answer(), second.answer()]
        assert [answer.outcome for answer in answers] == ["executed", "joined"]
        assert answers[0].body == answers[1].body
        assert tickets(house, "r") == 1


@pytest.mark.fault(55)
def test_kill_9_is_not_run_again_by_the_retry(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """The process died while the tool was at work. There: the lock expired, and the retry filed another ticket."""
    gate, store = Gate(), processes.sqlite_url(tmp_path)
    with processes.proxy(tmp_path / "p", policies, tool.url, store) as proxy:
        house = House(proxy, tool)
        data = house.call("r", script=waits(gate))
        with house.caller() as caller:
            caller.send(data)
            gate.await_reached()
            proxy.kill()
    gate.open()
    with processes.proxy(tmp_path / "p", policies, tool.url, store) as proxy:
        house = House(proxy, tool)
        for _ in range(3):
            assert ask(house.port, data).said == UNKNOWN_LATER
        assert tickets(house, "r") == 1


@pytest.mark.fault(30)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_answer_of_2_mb_is_not_run_again_by_the_retry(house: House, chunked: bool) -> None:
    """The answer was too large to keep. There: nothing was kept, not even that it had run, and the retry ran."""
    run, size = house.run(), 2 * 1024 * 1024

    def large(wire: Wire, execution: Execution) -> None:
        if chunked:
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(32):
                wire.send(b"%x\r\n" % (size // 32) + b"x" * (size // 32) + b"\r\n")
            wire.send(b"0\r\n\r\n")
        else:
            wire.reply(b"x" * size)

    data = house.call(run, script=large)
    first = ask(house.port, data)
    assert (first.said, len(first.body)) == ((200, "executed", ""), size)
    for _ in range(3):
        assert ask(house.port, data).said == (409, "refused", "result-unavailable")
    assert tickets(house, run) == 1


@pytest.mark.fault(2)
def test_200_simultaneous_duplicates_get_no_errors(
    tmp_path: Path, policies: Path, tool: Tool, database: RedisDatabase
) -> None:
    """Two hundred at once, on Redis. There: a hundred got errors, because the pool of connections was exhausted. Here
    the bound on waiters is the policy's: what is beyond it is refused in good form, and nobody else notices."""
    gate = Gate()
    with processes.proxy(tmp_path / "p", policies, tool.url, database.url) as proxy:
        house = House(proxy, tool)
        data = house.call("r", script=waits(gate))
        with callers(house.port, 200) as crowd:
            for caller in crowd:
                caller.send(data)
            gate.await_reached()
            until(lambda: proxy.metric("holdfast_requests_total", outcome="refused") >= 99)
            gate.open()
            answers = [caller.answer() for caller in crowd]
        counted = Counter(answer.said for answer in answers)
        assert counted[200, "executed", ""] == 1
        assert counted[200, "joined", ""] == 100
        assert counted[503, "refused", "overloaded"] == 99
        assert tickets(house, "r") == 1
        again = [ask(house.port, data) for _ in range(5)]
        assert {answer.outcome for answer in again} == {"replayed"}


@pytest.mark.fault(2)
def test_200_simultaneous_duplicates_all_get_the_answer_where_they_may_wait(house: House) -> None:
    """With room for them to wait, every one of the two hundred gets the one ticket."""
    run, gate = house.run(), Gate()
    data = house.call(run, tool="crowd", script=waits(gate))
    with callers(house.port, 200) as crowd:
        for caller in crowd:
            caller.send(data)
        gate.await_reached()
        gate.open()
        answers = [caller.answer() for caller in crowd]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert tickets(house, run) == 1
