"""What callers do to a sidecar: they ask twice, hang up, ask again (faults 1 to 6, 18)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import Caller, ask
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.seen import TICKET, ticket
from tests.proxy.tools import Gate, says, tool, waits


@pytest.mark.fault(1)
def test_two_identical_requests_at_once_get_the_same_bytes_of_one_forward(house: House) -> None:
    """The second joins the first: one execution, the same status, fields and body for both."""
    run, gate = house.run(), Gate()
    data = house.call(run, script=waits(gate, says(ticket(b"X-Odd: kept", b"Content-Type: application/json"))))
    with house.caller() as first, house.caller() as second:
        first.send(data)
        gate.await_reached()
        second.send(data)
        gate.open()
        executed, joined = first.answer(), second.answer()
    assert (executed.outcome, joined.outcome) == ("executed", "joined")
    assert executed.body == joined.body == TICKET
    for name in ("X-Odd", "Content-Type", "Content-Length", "Holdfast-Operation"):
        assert executed.get(name) == joined.get(name) != ""
    assert len(house.executions(run)) == 1


@pytest.mark.fault(6)
def test_white_space_behind_an_identity_makes_no_other_call_of_it(house: House) -> None:
    """RFC 9110, 5.5: it is no part of the value. Whoever drops or adds it on the way does not make it run again."""
    run = house.run()
    assert house.ask(run).outcome == "executed"
    spaced = house.call(run).replace(run.encode(), run.encode() + b" ", 1).replace(b"call-1", b"call-1 ", 1)
    assert ask(house.port, spaced).outcome == "replayed"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(3)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_joiner_that_hangs_up_takes_nobody_along(house: House, how: str) -> None:
    """The forward, its first caller and the other joiners never notice."""
    run, gate = house.run(), Gate()
    data = house.call(run, script=waits(gate))
    with house.caller() as first, house.caller() as leaving, house.caller() as staying:
        first.send(data)
        gate.await_reached()
        leaving.send(data)
        staying.send(data)
        getattr(leaving, how)()
        gate.open()
        assert (first.answer().outcome, staying.answer().outcome) == ("executed", "joined")
    assert len(house.executions(run)) == 1


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("close", marks=pytest.mark.fault(4)),
        pytest.param("reset", marks=pytest.mark.fault(4)),
        pytest.param("half_close", marks=pytest.mark.fault(5)),
    ],
)
def test_first_caller_that_hangs_up_leaves_a_result_behind(house: House, how: str) -> None:
    """The forward goes on without its caller: a joiner gets the result, and so does whoever asks later, marked late."""
    run, gate = house.run(), Gate()
    data = house.call(run, script=waits(gate, says(ticket())))
    gone = house.proxy.metric("holdfast_caller_gone_total", tool="act")
    with house.caller() as first, house.caller() as joiner:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        getattr(first, how)()
        if how == "half_close":
            assert first.closed()
        else:
            _settle_down(house, run)
        gate.open()
        joined = joiner.answer()
    assert (joined.outcome, joined.body) == ("joined", TICKET)
    replayed = ask(house.port, data)
    assert (replayed.outcome, replayed.body, replayed.get("Holdfast-Late")) == ("replayed", TICKET, "true")
    assert replayed.get("Idempotent-Replayed") == "true"
    assert len(house.executions(run)) == 1
    assert house.proxy.metric("holdfast_caller_gone_total", tool="act") == gone + 1


def _settle_down(house: House, run: str) -> None:
    """Wait until the proxy has noticed what happened to its connections: a read that is asked later is answered."""
    for _ in range(2):
        assert house.ask(run + "-read", tool="search").status == 200


@pytest.mark.fault(4)
def test_caller_that_hangs_up_right_after_sending_is_still_served_once(house: House) -> None:
    """Whether the proxy had read the request or not when its caller went, a retry cannot make it two."""
    for _ in range(20):
        run = house.run()
        data = house.call(run)
        with house.caller() as caller:
            caller.send(data)
        answer = ask(house.port, data)
        assert answer.outcome in {"executed", "joined", "replayed"}
        assert len(house.executions(run)) == 1


@pytest.mark.fault(6)
def test_retry_after_the_callers_own_time_out_joins(house: House) -> None:
    """A caller that gave up and asks again under the same key waits for the same forward."""
    run, gate = house.run(), Gate()
    data = house.call(run, script=waits(gate, says(ticket())))
    with house.caller() as impatient:
        impatient.send(data)
        gate.await_reached()
    with house.caller() as retry:
        retry.send(data)
        gate.open()
        answer = retry.answer()
    assert answer.outcome in {"joined", "replayed"}
    assert answer.body == TICKET
    assert len(house.executions(run)) == 1


@pytest.mark.fault(6)
def test_retry_after_the_tools_time_is_over_gets_the_late_result(house: House) -> None:
    """The incident of the two tickets: 504 and unknown for the first attempt, the late result for the second."""
    run, gate = house.run(), Gate()
    data = house.call(run, tool="quick", script=waits(gate, says(ticket())))
    first = ask(house.port, data)
    assert first.said == (504, "unknown", "outcome-unknown")
    assert first.json()["state"] == "unknown"
    with house.caller() as retry:
        retry.send(data)
        gate.open()
        answer = retry.answer()
    assert (answer.status, answer.body) == (200, TICKET)
    assert ask(house.port, data).get("Holdfast-Late") == "true"
    assert len(house.executions(run)) == 1


def test_patience_of_a_first_caller_ends_in_time_and_the_forward_goes_on(house: House) -> None:
    """`Prefer: wait` bounds the wait, is not forwarded, and costs nobody the result."""
    run, gate = house.run(), Gate()
    data = house.call(run, ("Prefer", "wait=1, handling=strict"), script=waits(gate, says(ticket())))
    first = ask(house.port, data)
    assert first.said == (409, "unknown", "in-flight")
    assert (first.json()["retry"], first.get("Retry-After")) == ("same-key", "1")
    gate.open()
    until(lambda: ask(house.port, data).outcome == "replayed")
    (execution,) = house.executions(run)
    assert execution.get(b"Prefer") == b"handling=strict"


@pytest.mark.parametrize("wait", ["wait=0", 'wait="0"', "wait=0;x=1", "handling=strict, WAIT = 0, wait=20"])
def test_patience_is_read_in_every_spelling(house: House, wait: str) -> None:
    """RFC 7240: a value may be quoted and have parameters, and of two the first counts."""
    run, gate = house.run(), Gate()
    data = house.call(run, script=waits(gate))
    with house.caller() as first:
        first.send(data)
        gate.await_reached()
        assert house.ask(run, ("Prefer", wait)).said == (409, "refused", "in-flight")
        gate.open()
        assert first.answer().status == 200


def test_joiner_is_held_for_as_long_as_the_policy_or_its_own_patience_says(house: House) -> None:
    """A duplicate of a call that takes longer than `hold` is told so with a 409, and never forwarded."""
    run, gate = house.run(), Gate()
    data = house.call(run, tool="brief", script=waits(gate))
    patient = house.call(run + "-p", script=waits(gate))
    with house.caller() as first, house.caller() as other:
        first.send(data)
        other.send(patient)
        house.tool.await_executions(run)
        house.tool.await_executions(run + "-p")
        assert ask(house.port, data).said == (409, "refused", "in-flight")
        hasty = patient.replace(b"X-Script", b"Prefer: wait=0\r\nX-Script")
        assert ask(house.port, hasty).said == (409, "refused", "in-flight")
        gate.open()
        assert (first.answer().status, other.answer().status) == (200, 200)
    assert len(house.executions(run)) == len(house.executions(run + "-p")) == 1


@pytest.mark.fault(18)
def test_reset_during_a_long_replay_leaves_the_record_whole(house: House) -> None:
    """A caller that goes in the middle of a long replay harms neither the record nor the next replay."""
    run = house.run()
    body = bytes(range(256)) * 4_000
    data = house.call(run, script=says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    assert ask(house.port, data).body == body
    for _ in range(5):
        with Caller(house.port, receive_bytes=4_096) as caller:
            caller.send(data)
            caller.exactly(10_000)
            caller.reset()
    replayed = ask(house.port, data)
    assert (replayed.outcome, replayed.body) == ("replayed", body)
    assert len(house.executions(run)) == 1


def test_replay_is_the_tools_answer_to_the_byte_after_a_restart(tmp_path: Path) -> None:
    """Status, reason, fields and body come back as they were, from the file alone."""
    head = b"HTTP/1.1 201 Filed It\r\nx-CASE: Kept\r\nDate: then\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\n"
    reply = head + b"\x00\xff\r\n"
    with tool() as server:
        policies = policy_folder(tmp_path / "policies", policy("act"))
        answers = []
        for _ in range(2):
            with processes.proxy(tmp_path / "p", policies, server.url, processes.sqlite_url(tmp_path)) as proxy:
                answers.append(House(proxy, server).ask("r", script=says(reply)))
    executed, replayed = answers
    assert (executed.outcome, replayed.outcome) == ("executed", "replayed")
    assert replayed.line == executed.line == b"HTTP/1.1 201 Filed It"
    assert replayed.body == executed.body == b"\x00\xff\r\n"
    ours = {b"holdfast-outcome", b"idempotent-replayed", b"content-length"}
    kept = [[one for one in answer.fields if one[0].lower() not in ours] for answer in (executed, replayed)]
    assert kept[0] == kept[1]
