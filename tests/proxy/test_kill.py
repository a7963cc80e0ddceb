"""kill -9 of a real proxy at every point of a call's way (fault 55): never a second execution, and unknown where it may
have run.

Where the ledger is Redis, a relay in front of it stops the proxy exactly at a command or its reply. Where it is SQLite,
the points are those that can be told from outside: by the tool, by the caller, and by freezing the process first.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import Answer, Caller, ask
from tests.proxy.conftest import RedisDatabase
from tests.proxy.house import House, unaccepting
from tests.proxy.processes import until
from tests.proxy.relays import Relay, claims, settles
from tests.proxy.tools import Execution, Gate, Script, Tool, Wire, says, waits

pytestmark = pytest.mark.fault(55)

UNKNOWN = (409, "unknown", "outcome-unknown")
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nticket"


class Mortal:
    """A proxy to be killed, and the one that takes its place over the same ledger."""

    def __init__(self, folder: Path, policies: Path, tool: Tool, store: str) -> None:
        self.tool = tool
        self._folder, self._policies, self._store = folder, policies, store

    @contextlib.contextmanager
    def life(self, *, store: str = "", upstream: str = "") -> Iterator[House]:
        """Run it once."""
        given = (self._policies, upstream or self.tool.url, store or self._store)
        with processes.proxy(self._folder / "proxy", *given, hasty=True) as proxy:
            yield House(proxy, self.tool)

    def ask_after(self, data: bytes) -> Answer:
        """Ask its successor."""
        with self.life() as house:
            return ask(house.port, data)


@pytest.fixture(params=["sqlite", "redis"])
def mortal(request: pytest.FixtureRequest, tmp_path: Path, policies: Path, tool: Tool) -> Mortal:
    """A mortal proxy on each ledger."""
    store = processes.sqlite_url(tmp_path)
    if request.param == "redis":
        store = request.getfixturevalue("database").url
    return Mortal(tmp_path, policies, tool, store)


def check_unknown(answer: Answer) -> None:
    """The outcome is told to be unknown, at once or once the dead owner's lease has run out."""
    assert answer.problem == "outcome-unknown"
    assert answer.outcome == "unknown"
    assert answer.status in {409, 502}


def test_kill_before_the_body_is_whole_leaves_nothing(mortal: Mortal) -> None:
    """Nothing is claimed before the whole request is in: the call is as free as if it had never been sent."""
    with mortal.life() as house:
        data = house.call("r")
        with house.caller() as caller:
            caller.send(data[:-3])
            house.proxy.await_line("proxy.started")
            house.proxy.kill()
            assert caller.closed()
    assert mortal.ask_after(data).said == (200, "executed", "")
    assert len(mortal.tool.executions("r")) == 1
    assert mortal.tool.executions("r")[0].get(b"Holdfast-Attempt") == b"1"


def test_kill_while_dialling_is_unknown_and_never_ran(mortal: Mortal) -> None:
    """The claim stands and nobody can tell any more that nothing was sent: unknown, the honest side to err on."""
    with unaccepting() as silent, mortal.life(upstream=f"http://127.0.0.1:{silent}") as house, house.caller() as caller:
        data = house.call("r")
        caller.send(data)
        until(lambda: house.proxy.metric("holdfast_store_duration_seconds_count", op="claim") == 1)
        house.proxy.kill()
        assert caller.closed()
    check_unknown(mortal.ask_after(data))
    assert not mortal.tool.executions("r")


def test_kill_after_the_first_bytes_of_the_request_is_unknown(mortal: Mortal) -> None:
    """The tool has a part of the request; what it made of that, nobody knows."""
    gate = Gate()

    def reads_no_body(wire: Wire, execution: Execution) -> None:
        wire.exactly(1)
        gate.pass_through()

    with mortal.life() as house, house.caller() as caller:
        script = house.tool.script(reads_no_body, reads_body=False)
        data = house.call("r", ("X-Script", script.decode()), body=b"x" * 1_000_000)
        caller.send(data)
        gate.await_reached()
        house.proxy.kill()
        gate.open()
    check_unknown(mortal.ask_after(data))
    assert len(mortal.tool.executions("r")) == 1


def test_kill_before_the_reply_is_whole_is_unknown(mortal: Mortal) -> None:
    """The tool has the whole request, and may have said something: it ran, for all that anybody knows, and is never
    sent again."""
    gate = Gate()
    sent = {"request": b"", "status line": REPLY[:10], "head": REPLY[:-6], "mid-body": REPLY[:-2]}

    with mortal.life() as house, contextlib.ExitStack() as stack:
        data = {run: house.call(run, script=_halts(part, gate)) for run, part in sent.items()}
        opened = [stack.enter_context(house.caller()).send(one) for one in data.values()]
        for run in sent:
            house.tool.await_executions(run)
        gate.await_reached()
        house.proxy.kill()
        assert all(caller.closed() for caller in opened)
        gate.open()
    with mortal.life() as house, contextlib.ExitStack() as stack:
        for caller in [stack.enter_context(house.caller()).send(one) for one in data.values()]:
            check_unknown(caller.answer())
    assert [len(mortal.tool.executions(run)) for run in sent] == [1] * 4


def _halts(sent: bytes, gate: Gate) -> Script:
    def script(wire: Wire, execution: Execution) -> None:
        wire.send(sent)
        gate.pass_through()

    return script


def test_kill_with_the_reply_unread_is_unknown(mortal: Mortal) -> None:
    """The reply is whole and on this machine, but nobody wrote it down: unknown."""
    gate = Gate()
    with mortal.life() as house, house.caller() as caller:
        data = house.call("r", script=waits(gate, says(REPLY)))
        caller.send(data)
        gate.await_reached()
        house.proxy.signal(signal.SIGSTOP)
        gate.open()
        house.proxy.kill()
    check_unknown(mortal.ask_after(data))
    assert len(mortal.tool.executions("r")) == 1


def test_kill_after_the_answer_is_a_replay(mortal: Mortal) -> None:
    """I2: what a caller was given is given again, to the byte, by whoever comes after."""
    with mortal.life() as house:
        data = house.call("r", script=says(REPLY))
        first = ask(house.port, data)
        house.proxy.kill()
    again = mortal.ask_after(data)
    assert (first.outcome, again.outcome) == ("executed", "replayed")
    assert first.body == again.body == b"ticket"
    assert len(mortal.tool.executions("r")) == 1


def test_kill_in_a_storm_never_executes_twice_and_loses_no_acknowledged_answer(mortal: Mortal) -> None:
    """Killed at no chosen point, among many calls: each key ran at most once, and what was answered is replayed."""
    count = 60
    with mortal.life() as house, contextlib.ExitStack() as stack:
        data = [house.call(f"r{number}") for number in range(count)]
        opened = [stack.enter_context(Caller(house.port)) for _ in data]
        for caller, one in zip(opened, data, strict=True):
            caller.send(one)
        answered = {number: opened[number].answer().body for number in range(count // 4)}
        house.proxy.kill()
        for number, caller in enumerate(opened[len(answered) :], len(answered)):
            with contextlib.suppress(ConnectionError):
                answered[number] = caller.answer().body
    ran = {number: len(mortal.tool.executions(f"r{number}")) for number in range(count)}
    assert set(ran.values()) <= {0, 1}
    with mortal.life() as house, contextlib.ExitStack() as stack:
        again = [stack.enter_context(Caller(house.port)) for _ in data]
        for caller, one in zip(again, data, strict=True):
            caller.send(one)
        answers = [caller.answer() for caller in again]
    for number, answer in enumerate(answers):
        assert answer.outcome in {"replayed", "unknown", "executed"}
        assert answer.body == answered.get(number, answer.body)
        if answer.outcome == "executed":
            assert ran[number] == 0
        assert len(mortal.tool.executions(f"r{number}")) <= 1


# -- at a command of the store, exactly ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "reply", "executed", "after"),
    [
        (claims, False, 0, {(200, "executed", "")}),
        (claims, True, 0, {UNKNOWN, (502, "unknown", "outcome-unknown")}),
        (settles, False, 1, {UNKNOWN, (502, "unknown", "outcome-unknown")}),
        (settles, True, 1, {(200, "replayed", "")}),
    ],
    ids=["before the claim", "after the claim", "before the settle", "after the settle"],
)
def test_kill_at_a_command_of_the_store(
    tmp_path: Path, policies: Path, tool: Tool, relay: Relay, database: RedisDatabase, point: object, reply: bool,
    executed: int, after: set[tuple[int, str, str]],
) -> None:  # fmt: skip
    """Before the claim is with the store the call is free; from then on it may have run, until a settlement is with the
    store; from then on its answer is known to everybody, though its own caller never got it."""
    mortal = Mortal(tmp_path, policies, tool, database.url)
    with mortal.life(store=database.through(relay.port)) as house, house.caller() as caller:
        data = house.call("r", script=says(REPLY))
        gate = relay.hold(point, reply=reply)  # type: ignore[arg-type]  # parametrize hides what it is
        caller.send(data)
        gate.await_reached()
        house.proxy.kill()
        relay.stop()
        assert caller.closed()
    assert len(tool.executions("r")) == executed
    answer = mortal.ask_after(data)
    assert answer.said in after
    assert len(tool.executions("r")) == (1 if answer.outcome == "executed" else executed)
    if answer.outcome == "replayed":
        assert answer.body == b"ticket"


@pytest.mark.fault(53)
def test_kill_amid_commits_is_recovered(tmp_path: Path, policies: Path, tool: Tool) -> None:
    """Killed while it writes, over and over, the SQLite ledger opens again each time with everything acknowledged."""
    mortal = Mortal(tmp_path, policies, tool, processes.sqlite_url(tmp_path))
    acknowledged: dict[str, bytes] = {}
    for life in range(3):
        with mortal.life() as house, contextlib.ExitStack() as stack:
            for run, body in acknowledged.items():
                again = house.ask(run)
                assert (again.outcome, again.body) == ("replayed", body)
            opened = {f"{life}-{number}": stack.enter_context(house.caller()) for number in range(30)}
            for run, caller in opened.items():
                caller.send(house.call(run))
            for number, (run, caller) in enumerate(opened.items()):
                if number == 8 + life:
                    house.proxy.kill()
                with contextlib.suppress(ConnectionError):
                    acknowledged[run] = caller.answer().body
    assert len(acknowledged) >= 24
