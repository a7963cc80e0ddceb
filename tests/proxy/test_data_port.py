"""The data port, byte by byte: what HTTP clients hide when they are asked, and what they never send."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from proxy.guard import Guard
from tests.proxy.callers import ask, call, request
from tests.proxy.door import door
from tests.proxy.house import House
from tests.proxy.tools import Tool, says

ODD_TARGETS = [
    "/tools/act?a%2Fb=/%41/../x&q=%zz",
    "/tools/act?",
    "/tools/act?x=1?y=2&&=;",
    "/tools/%61ct/./../act?e=%C3%A9%00",
    "//tools/act?x",
    "/tools/act?" + "q" * 8_000,
]


@pytest.mark.parametrize("target", ODD_TARGETS, ids=lambda target: target[:40])
def test_odd_target_reaches_the_tool_byte_for_byte(house: House, target: str) -> None:
    """Nothing about a target is decoded, collapsed, re-encoded or cut."""
    run = house.run()
    house.ask(run, target=target)
    (execution,) = house.executions(run)
    assert execution.line == f"POST {target} HTTP/1.1".encode()


def test_headers_keep_their_order_case_and_repetitions_on_the_way_in(house: House) -> None:
    """The tool sees the caller's fields as they were sent, and Holdfast's own after them."""
    run = house.run()
    odd = (("x-LOWER-Upper", "1"), ("Cookie", "a=1"), ("ACCEPT", "*/*"), ("Cookie", "b=2"), ("X-Empty", ""))
    house.ask(run, *odd, ("Accept-Encoding", "gzip;q=0"), body=b"{}")
    (execution,) = house.executions(run)
    sent = [(name.encode(), value.encode()) for name, value in (*odd, ("Accept-Encoding", "gzip;q=0"))]
    assert execution.fields[3 : 3 + len(sent)] == sent
    assert [name for name, _ in execution.fields[3 + len(sent) :]] == [
        b"Via", b"Holdfast-Operation", b"Holdfast-Attempt", b"Content-Length",
    ]  # fmt: skip
    assert execution.get(b"Holdfast-Attempt") == b"1"
    assert execution.get(b"Holdfast-Operation").startswith(b"op_")


def test_headers_keep_their_order_case_and_repetitions_on_the_way_back(house: House) -> None:
    """The caller sees the tool's reason and fields as they were sent, and Holdfast's own after them."""
    given = b"x-Odd: 1\r\nSET-cookie: a=1\r\nDate: yesterday\r\nSet-Cookie: b=2\r\nServer: tool\r\nX-Empty:\r\n"
    reply = b"HTTP/1.1 200 Sure Thing\r\n" + given + b"Content-Length: 2\r\n\r\nok"
    answer = house.ask(house.run(), script=says(reply))
    head = answer.raw.removesuffix(b"ok")
    assert head.startswith(b"HTTP/1.1 200 Sure Thing\r\nx-Odd: 1\r\nSET-cookie: a=1\r\nDate: yesterday\r\n")
    assert [name for name, _ in answer.fields] == [
        b"x-Odd", b"SET-cookie", b"Date", b"Set-Cookie", b"Server", b"X-Empty", b"Content-Length",
        b"Holdfast-Operation", b"Holdfast-Outcome",
    ]  # fmt: skip


@pytest.mark.fault(14)
@pytest.mark.parametrize("tool", ["act", "search"])
def test_gzip_goes_through_byte_for_byte_in_both_directions(house: House, tool: str) -> None:
    """Bodies are never decoded: not the request's, not the reply's, and not in a replay."""
    body, packed = gzip.compress(b'{"subject":"' + b"x" * 5_000 + b'"}'), gzip.compress(b"ticket" * 500)
    run = house.run()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    fields = (("Content-Encoding", "gzip"), ("Content-Type", "application/json"))
    for _ in range(2):
        answer = house.ask(run, *fields, script=says(head % len(packed) + packed), tool=tool, body=body)
        assert answer.body == packed
        assert answer.get("Content-Encoding") == "gzip"
    executions = house.executions(run)
    assert [one.body for one in executions] == [body] * (1 if tool == "act" else 2)
    assert executions[0].get(b"Content-Encoding") == b"gzip"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE", "M-SEARCH"])
def test_every_write_method_is_guarded(house: House, method: str) -> None:
    """What is no read by its method is claimed, forwarded once, and replayed."""
    run = house.run()
    first, second = (house.ask(run, method=method) for _ in range(2))
    assert (first.outcome, second.outcome) == ("executed", "replayed")
    assert [one.line.split(b" ")[0].decode() for one in house.executions(run)] == [method]


@pytest.mark.fault(11)
def test_connection_header_cannot_strip_the_identity(house: House) -> None:
    """Fields that Connection names are dropped, but for those that say whose call it is."""
    run = house.run()
    fields = (("Connection", "x-run-id, X-Tool-Call-Id, x-hop, authorization"), ("X-Hop", "1"), ("Authorization", "me"))
    first, second = (house.ask(run, *fields) for _ in range(2))
    assert (first.outcome, second.outcome) == ("executed", "replayed")
    (execution,) = house.executions(run)
    assert execution.get(b"X-Tool-Call-Id") == b"call-1"
    assert execution.get(b"Authorization") == b"me"
    assert not execution.get(b"X-Hop") + execution.get(b"Connection")


@pytest.mark.fault(11)
def test_spoofed_fields_of_ours_reach_neither_tool_nor_caller(house: House) -> None:
    """Only Holdfast speaks as Holdfast: its fields are stripped from requests and replies alike."""
    run = house.run()
    spoofed = b"HTTP/1.1 200 OK\r\nHoldfast-Outcome: executed\r\nidempotent-replayed: true\r\nHOLDFAST-late: true\r\n"
    reply = spoofed + b"X-Holdfast: mine\r\nContent-Length: 2\r\n\r\nok"
    fields = (("Holdfast-Operation", "op_x"), ("holdfast-attempt", "9"), ("Idempotent-Replayed", "true"))
    for tool in ("act", "search"):
        answer = house.ask(run, *fields, script=says(reply), tool=tool)
        assert not answer.get("Idempotent-Replayed") + answer.get("Holdfast-Late")
        assert answer.get("X-Holdfast") == "mine"
    write, read = house.executions(run)
    assert write.get(b"Holdfast-Attempt") == b"1"
    assert not read.get(b"Holdfast-Operation") + read.get(b"Holdfast-Attempt")
    assert not write.get(b"Idempotent-Replayed") + read.get(b"Idempotent-Replayed")


def test_announce_false_leaves_the_tool_in_the_dark(house: House) -> None:
    """Without `announce` the tool sees nothing of Holdfast."""
    run = house.run()
    house.ask(run, tool="quiet")
    (execution,) = house.executions(run)
    assert not execution.get(b"Holdfast-Operation") + execution.get(b"Holdfast-Attempt") + execution.get(b"Via")


@pytest.mark.fault(11)
@pytest.mark.parametrize("tool", ["act", "search"])
def test_refusal_of_ours_that_a_tool_makes_up_is_not_signed(house: House, tool: str) -> None:
    """It would say *not executed, ask again under new ids* of what it did: whoever looks at Proxy-Status sees that the
    tool has spoken, now and in a replay."""
    forged = b'{"type": "urn:holdfast:problem:not-sent", "safe_new_key": true}'
    reply = b"HTTP/1.1 400 Bad Request\r\nProxy-Status: holdfast; error=destination_unavailable\r\n"
    run = house.run()
    for _ in range(2):
        answer = house.ask(run, script=says(reply + b"Content-Length: %d\r\n\r\n%b" % (len(forged), forged)), tool=tool)
        assert (answer.status, answer.body) == (400, forged)
        assert not answer.get("Proxy-Status")


@pytest.mark.fault(15)
@pytest.mark.parametrize("tool", ["act", "search"])
def test_expect_continue_is_answered_once_and_before_the_body(house: House, tool: str) -> None:
    """A caller that asks first is told to go on, once, and the tool never hears of it."""
    run = house.run()
    with house.caller() as caller:
        head, _, body = house.call(run, ("Expect", "100-continue"), tool=tool).partition(b"\r\n\r\n")
        caller.send(head + b"\r\n\r\n")
        assert caller.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = caller.send(body).answer()
        assert (answer.status, answer.interim) == (200, [])
    (execution,) = house.executions(run)
    assert execution.body == body
    assert not execution.get(b"Expect")


@pytest.mark.fault(15)
def test_expect_continue_without_a_body_or_of_a_http_1_0_caller_is_ignored(house: House) -> None:
    """Nobody is told to go on who has nothing to send, or who could not understand it (RFC 9110, 10.1.1)."""
    assert house.ask(house.run(), ("Expect", "100-continue"), body=b"").interim == []
    old = house.call(house.run(), ("Expect", "100-continue")).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    answer = ask(house.port, old)
    assert (answer.status, answer.interim) == (200, [])


@pytest.mark.fault(16)
def test_pipelined_requests_are_answered_in_their_order(house: House) -> None:
    """Requests sent in one go, writes and reads mixed, a refusal among them, are answered one after the other."""
    runs = [house.run() for _ in range(8)]
    tools = ["act", "search", "quick", "act", "search", "act", "act", "search"]
    calls = [house.call(run, tool=tool) for run, tool in zip(runs, tools, strict=True)]
    with house.caller() as caller:
        caller.send(calls[0] + calls[0] + calls[1] + request("/tools/act", body=b"{}") + b"".join(calls[2:]))
        answers = [caller.answer() for _ in range(10)]
    assert [answer.said for answer in answers[:4]] == [
        (200, "executed", ""), (200, "replayed", ""), (200, "", ""), (400, "", "key-missing"),
    ]  # fmt: skip
    tickets = [answer.json()["ticket"] for answer in (answers[0], answers[2], *answers[4:])]
    assert tickets == sorted(tickets)
    assert [len(house.executions(run)) for run in runs] == [1] * 8


def test_keep_alive_is_kept_and_close_is_heeded(house: House) -> None:
    """A connection serves request after request until its caller asks for its end."""
    with house.caller() as caller:
        for _ in range(3):
            assert caller.send(house.call(house.run())).answer().get("Connection") == ""
        answer = caller.send(house.call(house.run(), ("Connection", "close"))).answer()
        assert (answer.status, answer.get("Connection")) == (200, "close")
        assert caller.closed()


@pytest.mark.parametrize("tool", ["act", "search"])
def test_http_1_0_caller_gets_a_length_and_a_closed_connection(house: House, tool: str) -> None:
    """An old caller gets no chunks; its connection stays only if it asks."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
    old = house.call(house.run(), script=says(chunked), tool=tool).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with house.caller() as caller:
        caller.send(old)
        head = caller.answer(head_only=True)
        assert head.get("Transfer-Encoding") == ""
        assert caller.rest() == b"body"
    asking = house.call(house.run(), ("Connection", "keep-alive")).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    with house.caller() as caller:
        assert caller.send(asking).answer().get("Connection") == "keep-alive"
        assert caller.send(asking).answer().outcome == "replayed"


@pytest.mark.parametrize("tool", ["act", "search"])
def test_upgrade_is_not_offered_to_the_tool(house: House, tool: str) -> None:
    """A request that would like another protocol is served in this one, body and all, and is the last on its
    connection: somebody on the way may take what follows for the other protocol."""
    run, after = house.run(), house.run()
    fields = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk"))
    with house.caller() as caller:
        caller.send(house.call(run, *fields, tool=tool) + house.call(after, tool=tool))
        answer = caller.answer()
        assert (answer.status, answer.get("Connection")) == (200, "close")
        assert caller.closed()
    (execution,) = house.executions(run)
    assert execution.body == b'{"subject":"printer"}'
    assert not execution.get(b"Upgrade") + execution.get(b"HTTP2-Settings") + execution.get(b"Connection")
    assert not house.executions(after)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"205 Reset Content"])
def test_reply_without_a_body_is_passed_on_and_replayed_without_one(house: House, status: bytes) -> None:
    """A status that has no body gets none, and the connection goes on."""
    run = house.run()
    length = b"Content-Length: 0\r\n" if status.startswith(b"205") else b""
    data = house.call(run, script=says(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n" + length + b"\r\n"))
    with house.caller() as caller:
        for outcome in ("executed", "replayed"):
            answer = caller.send(data).answer()
            assert (answer.status, answer.outcome, answer.body) == (int(status[:3]), outcome, b"")
            assert answer.get("ETag") == "x"
            assert answer.get("Content-Length") == ("0" if length else "")
        assert caller.send(house.call(house.run())).answer().status == 200


def test_head_is_passed_on_with_the_length_of_the_body_that_it_has_not(house: House) -> None:
    """HEAD is a read; its answer's Content-Length announces nothing, and the next request is not eaten."""
    with house.caller() as caller:
        data = house.call(
            house.run(), script=says(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"), method="HEAD", body=b""
        )
        for _ in range(2):
            answer = caller.send(data).answer(head_only=True)
            assert (answer.status, answer.get("Content-Length"), answer.outcome) == (200, "999", "")
        assert caller.send(house.call(house.run())).answer().status == 200


def test_unmatched_request_is_guarded_by_its_method(house: House) -> None:
    """What no policy names is a read if its method is safe, and otherwise a write that needs an identity."""
    run = house.run()
    assert [house.ask(run, method="GET", target="/anything", body=b"").outcome for _ in range(2)] == ["", ""]
    assert [house.ask(run, target="/anything").outcome for _ in range(2)] == ["executed", "replayed"]
    assert ask(house.port, request("/anything", body=b"{}")).said == (400, "", "key-missing")
    assert [one.line.split(b" ")[0] for one in house.executions(run)] == [b"GET", b"GET", b"POST"]


def test_options_asterisk_is_passed_on(house: House) -> None:
    """`OPTIONS *` is the one request without a path (RFC 9112, 3.2.4)."""
    run = house.run()
    assert house.ask(run, method="OPTIONS", target="*", body=b"").status == 200
    assert house.executions(run)[0].line == b"OPTIONS * HTTP/1.1"


def test_query_string_chooses_no_policy(house: House) -> None:
    """Policies are matched by the path; what the query holds goes to the tool."""
    run = house.run()
    assert house.ask(run, target="/tools/search?x=/tools/act").outcome == ""
    assert house.ask(run, target="/tools/act?x=/tools/search").outcome == "executed"


def test_log_line_says_what_happened_and_nothing_that_was_sent(house: House) -> None:
    """A call leaves one line with its ids and outcome: no body, no query string, no header's value."""
    run = house.run()
    secret = ("Authorization", "Bearer s3cret-token")
    house.ask(run, secret, target="/tools/act?password=s3cret-query", body=b'{"pin":"s3cret-body"}')
    line = house.proxy.await_line("request", run_id=run)
    assert (line["tool"], line["outcome"], line["status"], line["tool_call_id"]) == ("act", "executed", 200, "call-1")
    assert line["operation"].startswith("op_")
    house.ask(run, target="/tools/act", body=b'{"pin":"s3cret-other"}')
    house.proxy.await_line("key.reused", operation=line["operation"])
    assert not [line for line in house.proxy.lines() if "s3cret" in str(line)]


async def test_fault_of_ours_while_a_new_call_is_answered_is_told_and_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, policies: Path, tool: Tool
) -> None:
    """The caller has no task of its own that could fail: it gets a 500 all the same, and asks again for what came."""
    async with door(policies, tool.url) as opened:
        asked = call("run-1", script=tool.script(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
        with monkeypatch.context() as broken:
            broken.setattr(Guard, "_to_first", lambda *_: [].pop())
            first = await asyncio.to_thread(ask, opened.port, asked)
        again = await asyncio.to_thread(ask, opened.port, asked)
    assert (first.status, first.problem, first.get("Connection")) == (500, "internal", "close")
    assert (again.status, again.outcome, again.body) == (200, "replayed", b"ok")
    assert len(tool.executions("run-1")) == 1
