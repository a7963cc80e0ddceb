"""What callers do to a sidecar: they ask twice, hang up, ask again, lie about who they are (faults 1 to 18)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import pytest

from tests.proxy import processes
from tests.proxy.callers import Caller, ask, call, callers, request
from tests.proxy.door import Door, door
from tests.proxy.house import House, policy, policy_folder
from tests.proxy.processes import until
from tests.proxy.tools import Gate, Tool, says, tool, waits

TICKET = b'{"ticket":"only one"}'


def ticket(*fields: bytes) -> bytes:
    """Return the reply of a tool that files one ticket."""
    return (
        b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", *fields, b"Content-Length: %d" % len(TICKET)))
        + b"\r\n"
        + TICKET
    )


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


@pytest.mark.fault(1)
def test_canonically_equal_body_is_the_same_call(house: House) -> None:
    """JSON bodies that differ in key order and white space alone are one call; other bytes of no JSON type are not."""
    run = house.run()
    assert house.ask(run, body=b'{"a":1,"b":[2.0,"x"]}').outcome == "executed"
    assert house.ask(run, body=b'{ "b" : [2.0, "x"], "a" : 1 }').outcome == "replayed"
    text = ("Content-Type", "text/plain")
    assert house.ask(run, text, call="text", body=b'{"a":1}').outcome == "executed"
    assert house.ask(run, text, call="text", body=b'{"a": 1}').said == (422, "refused", "key-reused")
    assert [one.body for one in house.executions(run)] == [b'{"a":1,"b":[2.0,"x"]}', b'{"a":1}']


@pytest.mark.fault(2)
def test_two_thousand_simultaneous_requests_are_one_execution(house: House) -> None:
    """All of them get the one result; the tool's ledger shows one execution."""
    run, gate = house.run(), Gate()
    data = house.call(run, tool="crowd", script=waits(gate, says(ticket())))
    with callers(house.port, 2_000) as crowd:
        for caller in crowd:
            caller.send(data)
        gate.await_reached()
        gate.open()
        answers = [caller.answer() for caller in crowd]
    assert Counter(answer.said for answer in answers) - Counter({(200, "executed", ""): 1}) <= Counter(
        {(200, "joined", ""): 2_000, (200, "replayed", ""): 2_000}
    )
    assert {answer.body for answer in answers} == {TICKET}
    assert len(house.executions(run)) == 1


@pytest.mark.fault(2)
def test_surplus_of_two_thousand_waiters_is_refused_in_good_form(house: House) -> None:
    """With the default bound on waiters the surplus gets a 503 that says when to come back; nobody hangs, one runs."""
    run, gate = house.run(), Gate()
    data = house.call(run, script=waits(gate, says(ticket())))
    before = house.proxy.metric("holdfast_requests_total", tool="act", outcome="refused")
    with callers(house.port, 2_000) as crowd:
        for caller in crowd:
            caller.send(data)
        gate.await_reached()
        until(lambda: house.proxy.metric("holdfast_requests_total", tool="act", outcome="refused") == before + 1_899)
        gate.open()
        answers = [caller.answer() for caller in crowd]
    counted = Counter(answer.said for answer in answers)
    assert counted == {(503, "refused", "overloaded"): 1_899, (200, "executed", ""): 1, (200, "joined", ""): 100}
    assert {answer.body for answer in answers if answer.status == 200} == {TICKET}
    assert {answer.get("Retry-After") for answer in answers if answer.status == 503} == {"1"}
    assert len(house.executions(run)) == 1


@pytest.mark.fault(2)
def test_calls_beyond_the_tools_limit_in_flight_are_refused_and_not_claimed(house: House) -> None:
    """A tool's `limits.inFlight` holds; what is refused for it can be sent again with the same key."""
    gate = Gate()
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(house.caller()) for _ in range(2)]
        runs = [house.run() for _ in range(3)]
        for caller, run in zip(busy, runs, strict=False):
            caller.send(house.call(run, tool="narrow", script=waits(gate)))
            house.tool.await_executions(run)
        refused = house.ask(runs[2], tool="narrow")
        assert refused.said == (503, "refused", "overloaded")
        assert refused.get("Retry-After") == "1"
        gate.open()
        assert [caller.answer().outcome for caller in busy] == ["executed", "executed"]
    assert until(lambda: house.ask(runs[2], tool="narrow").outcome == "executed")
    assert len(house.executions(runs[2])) == 1


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


@pytest.mark.parametrize("wait", ["wait=0", 'wait="0"', "wait=0;x=1", "respond-async, WAIT = 0, wait=20"])
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


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    "change",
    [
        {"body": b'{"subject":"other"}'},
        {"body": b""},
        {"method": "PUT"},
        {"target": "/tools/act?x=1"},
        {"target": "/tools/%61ct"},
    ],
    ids=str,
)
@pytest.mark.parametrize("state", ["in flight", "completed", "unknown", "free"])
def test_key_used_for_another_call_is_refused_before_all_else(
    house: House, change: dict[str, str | bytes], state: str
) -> None:
    """Same key, other method, target or body: 422 whatever state the record is in, and no forward."""
    run, gate = house.run(), Gate()
    script = {
        "completed": says(ticket()),
        "unknown": says(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        "free": says(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n"),
    }.get(state, waits(gate))
    with house.caller() as first:
        first.send(house.call(run, script=script))
        if state == "in flight":
            gate.await_reached()
        else:
            first.answer()
        refused = house.ask(run, script=None, **change)
        gate.open()
    assert refused.said == (422, "refused", "key-reused")
    assert refused.get("x-should-retry") == "false"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(7)
def test_key_reuse_is_found_by_the_store_when_the_process_has_forgotten(tmp_path: Path) -> None:
    """After a restart the record alone tells that the key belongs to another call."""
    with tool() as server:
        policies = policy_folder(tmp_path / "policies", policy("act"))
        store = processes.sqlite_url(tmp_path)
        for body, said in (
            (b"{}", (200, "executed", "")),
            (b"[]", (422, "refused", "key-reused")),
            (b"{}", (200, "replayed", "")),
        ):
            with processes.proxy(tmp_path / "p", policies, server.url, store) as proxy:
                assert House(proxy, server).ask("restarted", body=body).said == said
        assert len(server.executions("restarted")) == 1


@pytest.mark.fault(8)
def test_another_tenant_with_the_same_ids_has_keys_of_its_own(house: House) -> None:
    """Tenants never see each other's results, and each one's call runs."""
    run = house.run()
    answers = [house.ask(run, ("X-Tenant-Id", name), tool="tenanted") for name in ("acme", "globex", "acme", "globex")]
    assert [answer.outcome for answer in answers] == ["executed", "executed", "replayed", "replayed"]
    assert answers[0].body == answers[2].body != answers[1].body == answers[3].body
    assert answers[0].get("Holdfast-Operation") != answers[1].get("Holdfast-Operation")
    missing = house.ask(run, tool="tenanted")
    assert (missing.status, missing.problem) == (400, "key-missing")
    assert len(house.executions(run)) == 2


@pytest.mark.fault(8)
def test_another_principal_with_the_same_ids_is_refused(house: House) -> None:
    """Who does not show the first caller's credential gets a 422 and never its result."""
    run = house.run()
    assert house.ask(run, ("Authorization", "Bearer one")).outcome == "executed"
    for fields in ([("Authorization", "Bearer two")], [], [("Authorization", "Bearer one ")][:0]):
        assert house.ask(run, *fields).said == (422, "refused", "key-reused")
    assert house.ask(run, ("Authorization", "Bearer one")).outcome == "replayed"
    assert len(house.executions(run)) == 1


@pytest.mark.fault(32)
def test_cookies_and_credentials_of_a_reply_go_to_its_first_caller_alone(house: House) -> None:
    """Neither joiners nor replays carry what was set for somebody else."""
    run, gate = house.run(), Gate()
    personal = (b"Set-Cookie: sid=1", b"Authentication-Info: x", b"Set-Cookie2: y", b"X-Kept: yes")
    data = house.call(run, script=waits(gate, says(ticket(*personal))))
    with house.caller() as first, house.caller() as joiner:
        first.send(data)
        gate.await_reached()
        joiner.send(data)
        gate.open()
        own, others = first.answer(), [joiner.answer(), ask(house.port, data)]
    assert own.get("Set-Cookie") == "sid=1"
    assert [other.outcome for other in others] == ["joined", "replayed"]
    for other in others:
        assert other.get("X-Kept") == "yes"
        assert not other.get("Set-Cookie") + other.get("Set-Cookie2") + other.get("Authentication-Info")


@pytest.mark.fault(9)
def test_write_without_identity_is_refused_or_passed_on_as_the_policy_says(house: House) -> None:
    """`onMissing: reject` names what was missing; `forward` passes on unprotected, and says and counts it."""
    for fields in ((), (("X-Run-Id", "r"),), (("X-Tool-Call-Id", "c"),), (("X-Run-Id", ""), ("X-Tool-Call-Id", "c"))):
        refused = ask(house.port, request("/tools/act", *fields, body=b"{}"))
        assert (refused.status, refused.problem) == (400, "key-missing")
        assert "X-Run-Id" in refused.json()["detail"]
        assert "Idempotency-Key" in refused.json()["detail"]
    counted = house.proxy.metric("holdfast_unprotected_total", tool="loose", why="no-key")
    run = house.run()
    for _ in range(2):
        assert house.ask(run, tool="loose", call="").said == (200, "unprotected", "")
    assert len(house.executions(run)) == 2
    assert house.proxy.metric("holdfast_unprotected_total", tool="loose", why="no-key") == counted + 2


def test_idempotency_key_is_an_identity_quoted_or_bare(house: House) -> None:
    """The IETF draft's header works alone, in both of its spellings, and can never meet a run id."""
    key = house.run()
    named = (("X-Run-Id", ""), ("Idempotency-Key", f'"{key}"'))
    bare = (("X-Run-Id", ""), ("Idempotency-Key", key))
    first, second = (ask(house.port, request("/tools/act", *fields, body=b"{}")) for fields in (named, bare))
    assert (first.outcome, second.outcome) == ("executed", "replayed")
    assert first.body == second.body
    assert house.ask(key, ("Idempotency-Key", key), body=b"{}").outcome == "executed"


def test_mode_off_forwards_every_request_and_says_so(house: House) -> None:
    """A policy that is off protects nothing, and nobody is told otherwise."""
    run = house.run()
    assert [house.ask(run, tool="unguarded").said for _ in range(2)] == [(200, "unprotected", "")] * 2
    assert len(house.executions(run)) == 2


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


def test_after_a_burst_and_faults_the_proxy_is_as_it_was(tmp_path: Path) -> None:
    """I8: descriptors and memory return to where they were after crowds, hang-ups, refusals and lost replies."""
    with tool() as server:
        rules = policy(
            "act", "timeouts: {connect: 1s, upstream: 2s, hold: 2s, late: 2s}", "limits: {waitersPerKey: 50}"
        )
        policies = policy_folder(tmp_path / "policies", rules)
        with processes.proxy(tmp_path / "p", policies, server.url, processes.sqlite_url(tmp_path)) as proxy:
            place = House(proxy, server)
            _burst(place, server, "warm")
            until(lambda: _idle(proxy))
            descriptors, memory = proxy.descriptors(), proxy.memory_bytes()
            for number in range(3):
                _burst(place, server, f"burst-{number}")
            until(lambda: _idle(proxy) and proxy.descriptors() <= descriptors, "descriptors return")
            assert proxy.memory_bytes() < memory + 8 * 1024 * 1024
            assert not proxy.lines("task.failed")


@pytest.mark.loops("asyncio", "uvloop")
async def test_after_a_burst_and_faults_no_task_and_no_waiter_is_left(policies: Path, tool: Tool) -> None:
    """I8: every task, meeting place and timer of two hundred calls, half of them lost or left, is gone afterwards."""
    lost = tool.script(lambda wire, _: wire.reset())
    async with door(policies, tool.url) as opened:
        await _calls(opened, "warm", lost)
        before = len(asyncio.all_tasks())
        for name in ("first", "second"):
            await _calls(opened, name, lost)
        while opened.works.joints or len(asyncio.all_tasks()) > before:  # noqa: ASYNC110  # that is the question
            await asyncio.sleep(0.01)
        assert not opened.works.wakeups.waiting
        assert set(opened.works.in_flight.values()) == {0}
        assert len(opened.works.outbox) == 0


async def _calls(opened: Door, name: str, lost: bytes) -> None:
    """Make a hundred calls in pairs, every other pair with a lost reply; every fifth caller goes before its answer."""
    writers = []
    for number in range(100):
        reader, writer = await opened.connect()
        script = lost if number % 4 < 2 else b""
        writer.write(call(f"{name}-{number // 2}", ("Connection", "close"), script=script))
        if number % 5:
            writers.append((reader, writer))
        else:
            writer.close()
    for reader, writer in writers:
        assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.close()


def _burst(place: House, server: Tool, name: str) -> None:
    lost = server.script(lambda wire, _: wire.reset())
    with callers(place.port, 300) as crowd:
        for number, caller in enumerate(crowd):
            caller.send(place.call(f"{name}-{number // 3}", call="lost" if number % 2 else "ok").replace(
                b"X-Script: ", b"X-Script: " + (lost if number % 2 else b""), 1
            ))  # fmt: skip
        for number, caller in enumerate(crowd):
            if number % 5 == 0:
                caller.reset()
            else:
                assert caller.answer().status in {200, 502, 409, 503}


def _idle(proxy: processes.Proxy) -> bool:
    return proxy.metric("holdfast_pending_settlement_bytes") == 0
