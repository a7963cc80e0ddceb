"""What tools do to a sidecar (faults 19 to 25, 29): they are away, hang up, cut short, talk nonsense, are late."""

from __future__ import annotations

import pytest

from tests.proxy.callers import ask, call
from tests.proxy.house import House
from tests.proxy.processes import until
from tests.proxy.seen import UNKNOWN_FIRST, UNKNOWN_LATER, watch
from tests.proxy.tools import Execution, Gate, Script, Wire, ends_after, says, waits


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    ("tool", "status", "phase"),
    [("refused", 502, "connect"), ("silent", 504, "connect"), ("nameless", 502, "resolve"), ("untrusted", 502, "tls")],
)
def test_tool_that_cannot_be_reached_leaves_the_key_free(house: House, tool: str, status: int, phase: str) -> None:
    """No byte was written: the answer says that it did not run and that a retry is safe, and the next is forwarded."""
    run = house.run()
    for attempt in (1, 2):
        answer = house.ask(run, tool=tool)
        assert answer.said == (status, "not-executed", "not-sent")
        document = answer.json()
        assert (document["state"], document["retry"], document["safe_new_key"]) == ("free", "same-key", True)
        assert phase in document["detail"]
        assert not answer.get("x-should-retry")
        assert house.proxy.await_line("request", run_id=run, attempt=attempt)["problem"] == "not-sent"
    assert not house.executions(run)


@pytest.mark.fault(19)
def test_not_sent_is_retried_as_often_as_the_policy_says(house: House) -> None:
    """`retry.attempts` counts tries in all, each of them dialled anew."""
    tried = house.proxy.metric("holdfast_upstream_attempts_total", tool="refused", result="not-sent")
    house.ask(house.run(), tool="refused")
    assert house.proxy.metric("holdfast_upstream_attempts_total", tool="refused", result="not-sent") == tried + 3


@pytest.mark.fault(19)
def test_read_of_a_tool_that_cannot_be_reached_is_told_so(house: House) -> None:
    """Reads get the same words, and nothing is kept for them."""
    answer = house.ask(house.run(), tool="offline", method="GET", body=b"")
    assert answer.said == (502, "", "not-sent")


LOST = {
    "closed without a byte": ends_after(b""),
    "reset without a byte": ends_after(b"", reset=True),
    "closed in the status line": ends_after(b"HTTP/1.1 20"),
    "reset in the header": ends_after(b"HTTP/1.1 200 OK\r\nContent-Le", reset=True),
    "closed after the header": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    "reset after the header": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", reset=True),
}


CUT = {
    "length": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour"),
    "length, reset": ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", reset=True),
    "in a chunk": ends_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfour"),
    "between chunks": ends_after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n"),
    "before the trailers' end": ends_after(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nX: y\r\n"
    ),
}


MALFORMED = {
    "no HTTP": says(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "HTTP/2": says(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    "status out of range": says(b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"),
    "double length": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
    "length and chunked": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "unknown coding": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx"),
    "bad chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "header without end": says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000),
    "switching protocols": says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
}


@pytest.mark.parametrize(
    "script",
    [
        *(pytest.param(script, id=name, marks=pytest.mark.fault(20)) for name, script in LOST.items()),
        *(pytest.param(script, id=f"cut: {name}", marks=pytest.mark.fault(23)) for name, script in CUT.items()),
        *(
            pytest.param(script, id=f"malformed: {name}", marks=pytest.mark.fault(25, 29))
            for name, script in MALFORMED.items()
        ),
    ],
)
def test_lost_reply_is_unknown_to_everybody_and_never_run_again(house: House, script: Script) -> None:
    """Once a byte was written it may have run: nobody is told that it failed, nothing is stored as whole, and however
    often it is asked for, it is not sent again."""
    run = house.run()
    seen = watch(house, run, script)
    assert seen.said == (UNKNOWN_FIRST, UNKNOWN_FIRST, UNKNOWN_LATER)
    for answer in (seen.first, seen.joiner, seen.later):
        document = answer.json()
        assert (document["state"], document["retry"], document["safe_new_key"]) == (
            "unknown",
            "after-resolution",
            False,
        )
        assert answer.get("x-should-retry") == "false"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(20)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST", "OPTIONS"])
@pytest.mark.parametrize("warm", [False, True], ids=["fresh connection", "kept-alive connection"])
def test_request_is_seen_once_by_a_tool_that_hangs_up(house: House, method: str, warm: bool) -> None:
    """No method is re-sent behind anybody's back, as HTTP clients do with those that they hold to be idempotent."""
    run = house.run()
    if warm:
        assert house.ask(run + "-warm").status == 200
    answer = house.ask(run, method=method, script=ends_after(b""))
    assert answer.status == 502
    assert len(house.executions(run)) == 1
    assert house.ask(run, method=method).said == UNKNOWN_LATER
    assert len(house.executions(run)) == 1


@pytest.mark.fault(20)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_read_is_seen_once_by_a_tool_that_hangs_up(house: House, method: str) -> None:
    """Reads are not re-sent either; their caller is told, and may ask again."""
    run = house.run()
    answer = house.ask(run, tool="search", method=method, body=b"", script=ends_after(b""))
    assert answer.status == 502
    assert len(house.executions(run)) == 1


@pytest.mark.fault(20)
def test_tool_that_resets_before_the_request_is_whole_is_unknown(house: House) -> None:
    """A large body that the tool does not want may still have done something: unknown, and sent once."""
    run = house.run()
    script = house.tool.script(lambda wire, _: wire.reset(), reads_body=False)
    data = call(run, body=b"x" * 900_000, script=script)
    assert ask(house.port, data).said == UNKNOWN_FIRST
    assert ask(house.port, data).said == UNKNOWN_LATER
    assert len(house.executions(run)) == 1


@pytest.mark.fault(21)
def test_kept_alive_connection_that_the_tool_closes_as_we_write_is_unknown(house: House) -> None:
    """The stale keep-alive race cannot be told from a crash in the act: unknown, and never sent again."""
    run = house.run()
    first = house.ask(run, call="one")
    assert first.status == 200
    raced = house.ask(run, call="two", script=ends_after(b"", reset=True))
    one, two = house.executions(run)
    assert one.connection == two.connection
    assert raced.said == UNKNOWN_FIRST


@pytest.mark.fault(21)
def test_connection_that_the_tool_has_closed_while_idle_is_not_written_to(house: House) -> None:
    """What makes the race rare: an end that has come in is seen before anything is written."""

    def answers_and_closes(wire: Wire, execution: Execution) -> None:
        wire.reply(b"{}")
        wire.close()

    for number in range(10):
        run = house.run()
        assert house.ask(run, call=f"{number}", script=answers_and_closes).said == (200, "executed", "")
        assert house.ask(run, call=f"{number} again").said == (200, "executed", "")


@pytest.mark.fault(22)
def test_time_out_is_unknown_and_a_late_answer_completes_it(house: House) -> None:
    """First caller and joiner are told 504 and unknown; whoever asks then is held, and gets the late truth."""
    run, gate = house.run(), Gate()
    data = house.call(run, tool="quick", script=waits(gate))
    late = house.proxy.metric("holdfast_late_results_total", tool="quick")
    with house.caller() as first, house.caller() as joiner, house.caller() as later:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        assert first.answer().said == (504, "unknown", "outcome-unknown")
        assert joiner.answer().said == (504, "unknown", "outcome-unknown")
        later.send(data)
        gate.open()
        assert later.answer().status == 200
    replayed = ask(house.port, data)
    assert (replayed.outcome, replayed.get("Holdfast-Late")) == ("replayed", "true")
    assert len(house.executions(run)) == 1
    assert house.proxy.metric("holdfast_late_results_total", tool="quick") == late + 1


@pytest.mark.fault(22)
def test_tool_that_never_answers_is_unknown_for_good(house: House) -> None:
    """Once `timeouts.late` is over as well, the connection is dropped and later arrivals are told at once."""
    run, hung_up = house.run(), Gate()

    def silent(wire: Wire, execution: Execution) -> None:
        assert wire.hung_up()
        hung_up.pass_through()

    data = house.call(run, tool="deaf", script=silent)
    assert ask(house.port, data).said == (504, "unknown", "outcome-unknown")
    hung_up.await_reached()
    hung_up.open()
    assert until(lambda: ask(house.port, data).said == UNKNOWN_LATER)
    assert len(house.executions(run)) == 1


@pytest.mark.fault(22)
def test_tool_that_falls_silent_in_its_body_is_unknown_and_listened_to(house: House) -> None:
    """Half an answer in time is no answer: 504, and the rest still completes it."""
    run, gate = house.run(), Gate()

    def halting(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        gate.pass_through()
        wire.send(b"lf")

    data = house.call(run, tool="quick", script=halting)
    assert ask(house.port, data).said == (504, "unknown", "outcome-unknown")
    gate.open()
    until(lambda: ask(house.port, data).body == b"half")
    assert len(house.executions(run)) == 1
