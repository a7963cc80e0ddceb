"""Requests that are refused before anything is claimed: ambiguous, malformed, disguised, too large (10, 12, 13, 17)."""

from __future__ import annotations

import pytest

from tests.proxy.callers import Caller, ask, call, request
from tests.proxy.house import House
from tests.proxy.tools import says

FORMS = {
    "absolute form": (b"POST http://evil.example/tools/act HTTP/1.1\r\nHost: a\r\n", 400),
    "absolute form, https": (b"GET https://evil.example/tools/act HTTP/1.1\r\nHost: a\r\n", 400),
    "authority form": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: a\r\n", 405),
    "TRACE": (b"TRACE /tools/act HTTP/1.1\r\nHost: a\r\n", 405),
    "asterisk, not OPTIONS": (b"POST * HTTP/1.1\r\nHost: a\r\n", 400),
    "fragment": (b"POST /tools/act#frag HTTP/1.1\r\nHost: a\r\n", 400),
    "no slash": (b"POST tools/act HTTP/1.1\r\nHost: a\r\n", 400),
    "bytes beyond ASCII": (b"POST /tools/\xc3\xa9 HTTP/1.1\r\nHost: a\r\n", 400),
    "HTTP/2.0": (b"POST /tools/act HTTP/2.0\r\nHost: a\r\n", 505),
    "HTTP/1.2": (b"POST /tools/act HTTP/1.2\r\nHost: a\r\n", 400),
    "HTTP/0.9": (b"POST /tools/act HTTP/0.9\r\nHost: a\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", 505),
    "no version": (b"POST /tools/act\r\nHost: a\r\n", 400),
    "space before colon": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nX-Odd : 1\r\n", 400),
    "folded field": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nX-Odd: 1\r\n 2\r\n", 400),
    "field without colon": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nX-Odd\r\n", 400),
    "bare LF": (b"POST /tools/act HTTP/1.1\r\nHost: a\nX-Odd: 1\r\n", 400),
    "NUL in a value": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nX-Odd: a\0b\r\n", 400),
    "bare CR in a value": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nX-Odd: a\rb\r\n", 400),
    "CL with TE": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    "TE with CL": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
    "double CL": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n", 400),
    "CL as a list": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n", 400),
    "CL with a sign": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n", 400),
    "CL in hex": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n", 400),
    "CL empty": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n", 400),
    "TE in 1.0": (b"POST /tools/act HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", 400),
    "TE gzip, chunked": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
    "TE gzip": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n", 400),
    "TE chunked twice": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n", 400),
    "TE in two fields": (
        b"POST /tools/act HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400,
    ),
    "TE xchunked": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n", 400),
    "TE identity": (b"POST /tools/act HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n", 400),
}  # fmt: skip


@pytest.mark.fault(17)
@pytest.mark.parametrize("name", FORMS)
def test_ambiguous_request_is_refused_and_the_connection_closed(house: House, name: str) -> None:
    """What two parties could read differently is answered with an error and nothing after it: nothing is claimed, and
    what was smuggled in behind is neither read as a request nor forwarded."""
    head, status = FORMS[name]
    run, smuggled = house.run(), house.run()
    claims = house.proxy.metric("holdfast_store_duration_seconds_count", op="claim")
    keyed = head + f"X-Run-Id: {run}\r\nX-Tool-Call-Id: c\r\n\r\n".encode()
    with house.caller() as caller:
        body = b"0\r\n\r\n" if b"Transfer-Encoding" in head else b"hello" if b"Content-Length" in head else b""
        caller.send(keyed + body + call(smuggled))
        answer = caller.answer()
        assert (answer.status, answer.problem) == (status, "bad-request")
        assert answer.get("Connection") == "close"
        assert caller.closed()
    assert not house.executions(run) + house.executions(smuggled)
    assert house.proxy.metric("holdfast_store_duration_seconds_count", op="claim") == claims


@pytest.mark.fault(17)
@pytest.mark.parametrize("version", ["2.0", "0.9"])
def test_other_version_is_refused_by_name_where_nothing_follows(house: House, version: str) -> None:
    """A version that is not spoken here is a 505, keyed or not, write or read."""
    run = house.run()
    for tool in ("act", "search"):
        with house.caller() as caller:
            answer = caller.send(
                house.call(run, tool=tool).replace(b"HTTP/1.1", b"HTTP/" + version.encode(), 1)
            ).answer()
            assert (answer.status, answer.problem) == (505, "bad-request")
            assert caller.closed()
    assert not house.executions(run)


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    "fields",
    [
        (("X-Run-Id", "a"), ("x-run-id", "a"), ("X-Tool-Call-Id", "c")),
        (("X-Run-Id", "a" * 256), ("X-Tool-Call-Id", "c")),
        (("X-Run-Id", "a" * 10_000), ("X-Tool-Call-Id", "c")),
        (("X-Run-Id", "a\tb"), ("X-Tool-Call-Id", "c")),
        (("X-Run-Id", "a\x01b"), ("X-Tool-Call-Id", "c")),
        (("X-Run-Id", "a\x7f"), ("X-Tool-Call-Id", "c")),
        (("X-Run-Id", "é"), ("X-Tool-Call-Id", "c")),
        (("X_Run_Id", "a"), ("X-Tool-Call-Id", "c"), ("X-Run-Id", "a")),
        (("X_RUN-ID", "a"), ("X-Tool-Call-Id", "c"), ("X-Run-Id", "a")),
        (("Authorization", "a"), ("Authorization", "b"), ("X-Run-Id", "a"), ("X-Tool-Call-Id", "c")),
        (("Idempotency-Key", "a"), ("Idempotency-Key", "b")),
        (("X-Thread-Id", "a"), ("X-Thread-Id", "a"), ("X-Run-Id", "a"), ("X-Tool-Call-Id", "c")),
        (("Prefer", "wait=soon"), ("X-Run-Id", "a"), ("X-Tool-Call-Id", "c")),
    ],
    ids=lambda fields: "+".join(f"{name}:{value[:4]!r}" for name, value in fields),
)
def test_ambiguous_control_header_is_refused(house: House, fields: tuple[tuple[str, str], ...]) -> None:
    """An identity that is doubled, too long, disguised or unprintable is a 400, and nothing is forwarded."""
    script = house.tool.script(says(b"never"))
    connections = house.tool.connections
    answer = ask(house.port, request("/tools/act", *fields, ("X-Script", script.decode()), body=b"{}"))
    assert (answer.status, answer.problem) == (400, "bad-request")
    assert house.tool.connections == connections


def test_control_header_of_255_bytes_is_taken(house: House) -> None:
    """The limit is what the contract says, to the byte."""
    run = "r" * 255
    assert house.ask(run).said == (200, "executed", "")
    assert house.executions(run)[0].get(b"X-Run-Id") == run.encode()


@pytest.mark.parametrize("data", [b"zz\r\n", b"5\r\nhelloX", b"-1\r\n", b"FFFFFFFFFFFFFFFFF\r\n"])
def test_malformed_chunks_are_refused_and_nothing_is_claimed(house: House, data: bytes) -> None:
    """A chunk that makes no sense ends the request and the connection."""
    run = house.run()
    with house.caller() as caller:
        caller.send(house.call(run, ("Transfer-Encoding", "chunked"), body=b"") + data)
        assert caller.answer().status == 400
        assert caller.closed()
    assert not house.executions(run)


def test_connection_that_sends_nothing_sensible_is_told_so_and_closed(house: House) -> None:
    """Bytes that are no HTTP at all get a 400 and the end of the connection."""
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"\r\n" * 3 + b"\x00" * 20):
        with Caller(house.port) as caller:
            assert caller.send(junk).answer().status == 400
            assert caller.closed()


@pytest.mark.fault(12)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_cut_short_is_never_claimed_nor_forwarded(house: House, framing: str) -> None:
    """A caller that hangs up in its own body has asked for nothing; the key is still free."""
    run = house.run()
    whole = house.call(run, body=b'{"a":1}')
    with house.caller() as caller:
        if framing == "length":
            caller.send(whole[:-2])
        else:
            caller.send(house.call(run, ("Transfer-Encoding", "chunked"), body=b"") + b"5\r\n{}")
        caller.reset()
    answer = ask(house.port, whole)
    assert answer.said == (200, "executed", "")
    assert len(house.executions(run)) == 1
    assert house.executions(run)[0].get(b"Holdfast-Attempt") == b"1"


@pytest.mark.fault(13)
@pytest.mark.parametrize("expects", [True, False])
def test_body_over_the_limit_is_refused_before_it_is_read(house: House, expects: bool) -> None:
    """413 comes on the head alone, without inviting the body, and the connection closes."""
    run = house.run()
    fields = (("Content-Length", "1025"), *((("Expect", "100-continue"),) if expects else ()))
    with house.caller() as caller:
        answer = caller.send(house.call(run, *fields, tool="small", body=b"")).answer()
        assert (answer.status, answer.problem, answer.interim) == (413, "too-large", [])
        assert caller.closed()
    assert not house.executions(run)


@pytest.mark.fault(13)
def test_chunked_body_over_the_limit_is_refused_as_soon_as_it_is(house: House) -> None:
    """A body that does not say its length is cut off where it passes the limit."""
    run = house.run()
    with house.caller() as caller:
        caller.send(house.call(run, ("Transfer-Encoding", "chunked"), tool="small", body=b""))
        answer = caller.send(b"401\r\n" + b"x" * 1_025 + b"\r\n").answer()
        assert (answer.status, answer.problem) == (413, "too-large")
        assert caller.closed()
    assert not house.executions(run)


def test_body_of_exactly_the_limit_is_taken(house: House) -> None:
    """The limit is inclusive, however the body is framed."""
    run, chunked = house.run(), house.run()
    assert house.ask(run, tool="small", body=b"x" * 1_024).status == 200
    with house.caller() as caller:
        caller.send(house.call(chunked, ("Transfer-Encoding", "chunked"), tool="small", body=b""))
        assert caller.send(b"400\r\n" + b"x" * 1_024 + b"\r\n0\r\n\r\n").answer().status == 200
    assert house.executions(run)[0].body == house.executions(chunked)[0].body == b"x" * 1_024
    assert house.executions(chunked)[0].get(b"Content-Length") == b"1024"
