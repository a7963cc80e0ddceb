"""What passes unguarded: reads, streamed both ways at the pace of whoever is slower, without a word to the store."""

from __future__ import annotations

import pytest

from tests.proxy.callers import Caller, ask
from tests.proxy.house import House
from tests.proxy.processes import until
from tests.proxy.tools import Execution, Gate, Script, Wire, ends_after, says

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(number: int) -> bytes:
    """Return an event as one chunk."""
    data = b"data: %d\n\n" % number
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.fault(31)
def test_each_event_arrives_before_the_next_one_is_sent(house: House) -> None:
    """An event stream is not gathered: what the tool says is with the caller before it says more."""
    heard = [Gate() for _ in range(3)]

    def stream(wire: Wire, execution: Execution) -> None:
        wire.send(EVENTS)
        for number, gate in enumerate(heard):
            wire.send(event(number))
            gate.pass_through()
        wire.send(b"0\r\n\r\n")

    with house.caller() as caller:
        head = caller.send(house.call(house.run(), tool="search", script=stream)).answer(head_only=True)
        assert head.get("Content-Type") == "text/event-stream"
        for number, gate in enumerate(heard):
            assert caller.chunk() == b"data: %d\n\n" % number
            gate.open()
        assert caller.chunk() == b""


def test_head_of_a_stream_arrives_before_its_first_event(house: House) -> None:
    """A caller learns that its stream has begun, however long the first event takes."""
    gate = Gate()

    def stream(wire: Wire, execution: Execution) -> None:
        wire.send(EVENTS)
        gate.pass_through()
        wire.send(event(1) + b"0\r\n\r\n")

    with house.caller() as caller:
        assert caller.send(house.call(house.run(), tool="search", script=stream)).answer(head_only=True).status == 200
        gate.open()
        assert caller.chunk() == b"data: 1\n\n"


@pytest.mark.parametrize("in_one_piece", [True, False])
def test_trailers_arrive_however_the_reply_came_in(house: House, in_one_piece: bool) -> None:
    """The trailer section of a chunked reply is passed on, whether or not it came in the same segment as the head, but
    for fields that are ours to send."""
    gate = Gate()

    def stream(wire: Wire, execution: Execution) -> None:
        head = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n"
        trailers = b"0\r\nX-Sum: 17\r\nHoldfast-Outcome: refused\r\nX-More: a\r\nProxy-Status: holdfast\r\n\r\n"
        if in_one_piece:
            wire.send(head + trailers)
            return
        wire.send(head)
        gate.pass_through()
        wire.send(trailers)

    with house.caller() as caller:
        caller.send(house.call(house.run(), tool="search", script=stream))
        head = caller.answer(head_only=True)
        assert head.get("Transfer-Encoding") == "chunked"
        assert caller.chunk() == b"body"
        gate.open()
        assert caller.chunk() == b""
        assert caller.until(b"\r\n\r\n") == b"X-Sum: 17\r\nX-More: a\r\n\r\n"
        assert caller.send(house.call(house.run())).answer().status == 200


@pytest.mark.fault(25)
def test_early_hints_of_a_read_reach_its_caller(house: House) -> None:
    """1xx replies are passed on as they come, but for 100, which was ours to give, and for what pretends to be ours."""
    gate = Gate()

    def hinting(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n"
                  b"Holdfast-Operation: op_x\r\nProxy-Status: holdfast\r\n\r\n")  # fmt: skip
        gate.pass_through()
        wire.reply(b"page")

    with house.caller() as caller:
        caller.send(house.call(house.run(), tool="search", script=hinting))
        hints = caller.until(b"\r\n\r\n")
        assert hints.startswith(b"HTTP/1.1 103 ")
        assert hints.partition(b"\r\n")[2] == b"Link: </style.css>\r\n\r\n"
        gate.open()
        assert caller.answer().body == b"page"


def test_http_1_0_caller_is_spared_interim_replies(house: House) -> None:
    """Who speaks HTTP/1.0 does not know what a 1xx is (RFC 9110, 15.2)."""
    script = says(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    old = house.call(house.run(), tool="search", script=script).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    assert ask(house.port, old).interim == []


def test_upload_of_a_read_streams_through(house: House) -> None:
    """The tool has the first piece of a body before the caller has sent the second, framed as was announced."""
    for framing in (("Transfer-Encoding", "chunked"), ("Content-Length", "8")):
        gate = Gate()
        got: list[bytes] = []

        def piecewise(wire: Wire, execution: Execution, gate: Gate = gate, got: list[bytes] = got) -> None:
            chunked = bool(execution.get(b"transfer-encoding"))
            for last in (False, True):
                if chunked:
                    wire.until(b"\r\n")
                got.append(wire.exactly(4))
                if chunked:
                    wire.until(b"\r\n")
                if not last:
                    gate.pass_through()
            if chunked:
                wire.until(b"0\r\n\r\n")
            wire.reply(b"got it")

        name = house.tool.script(piecewise, reads_body=False).decode()
        with house.caller() as caller:
            caller.send(
                house.call(house.run(), ("X-Script", name), framing, tool="search", body=b"", call="").replace(
                    b"X-Tool-Call-Id: \r\n", b""
                )
            )
            piece = b"4\r\n%b\r\n" if framing[1] == "chunked" else b"%b"
            caller.send(piece % b"abcd")
            gate.await_reached()
            caller.send(piece % b"efgh" + (b"0\r\n\r\n" if framing[1] == "chunked" else b""))
            gate.open()
            assert caller.answer().body == b"got it"
        assert got == [b"abcd", b"efgh"]


def endless(sent: list[int], pieces: int) -> Script:
    """Return a script that sends megabytes, and notes how many have left."""

    def script(wire: Wire, execution: Execution) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(pieces):
            wire.send(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
            sent.append(number)
        wire.send(b"0\r\n\r\n")

    return script


def _until_stuck(house: House, sent: list[int]) -> None:
    """Wait until the tool makes no progress over many turns of the proxy's event loop."""
    seen = -1
    while len(sent) != seen:
        seen = len(sent)
        for _ in range(20):
            assert house.proxy.get("/livez")[0] == 200


def test_slow_reader_slows_the_tool_down_and_costs_no_memory(house: House) -> None:
    """Back-pressure: of a long reply that nobody takes, the proxy holds a little and the tool the rest."""
    before = house.proxy.memory_bytes()
    sent: list[int] = []
    with Caller(house.port, receive_bytes=65_536) as caller:
        caller.send(house.call(house.run(), tool="search", script=endless(sent, 48)))
        caller.answer(head_only=True)
        first = caller.chunk()
        _until_stuck(house, sent)
        assert len(sent) < 30
        assert house.proxy.memory_bytes() - before < 12 * 1024 * 1024
        total = len(first)
        while piece := caller.chunk():
            total += len(piece)
    assert total == 48 * 0x100000
    assert house.proxy.memory_bytes() - before < 12 * 1024 * 1024


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
@pytest.mark.parametrize("moment", ["before the head", "between events", "while it is not read"])
def test_callers_end_reaches_the_tool_of_a_read(house: House, how: str, moment: str) -> None:
    """Nobody is left for the tool to work for: it is hung up on at once, wherever it was."""
    reached, hung_up = Gate(), Gate()
    reached.open()

    def quiet(wire: Wire, execution: Execution) -> None:
        reached.pass_through()
        if moment != "before the head":
            wire.send(EVENTS + event(1))
        if moment == "while it is not read":
            wire.send(b"".join(map(event, range(10_000))))
        assert wire.hung_up()
        hung_up.pass_through()

    with house.caller() as caller:
        caller.send(house.call(house.run(), tool="search", script=quiet))
        reached.await_reached()
        if moment != "before the head":
            caller.answer(head_only=True)
            caller.chunk()
        getattr(caller, how)()
        hung_up.await_reached()
        hung_up.open()


def test_read_costs_no_round_trip_to_the_store(house: House) -> None:
    """Reads are none of the ledger's business."""

    def calls() -> float:
        return sum(
            house.proxy.metric("holdfast_store_duration_seconds_count", op=op)
            for op in ("claim", "settle", "read", "watch", "lapse")
        )

    before = calls()
    for _ in range(20):
        run = house.run()
        assert house.ask(run, tool="search").status == 200
        assert house.ask(run, method="GET", target="/elsewhere", body=b"").status == 200
        assert len(house.executions(run)) == 2
    assert calls() == before


def test_silent_tool_of_a_read_is_given_up_in_time(house: House) -> None:
    """`timeouts.upstream` bounds a read's head, and each of its further pieces."""
    gate = Gate()

    def never(wire: Wire, execution: Execution) -> None:
        assert wire.hung_up()
        gate.pass_through()

    answer = house.ask(house.run(), tool="glance", script=never)
    assert (answer.status, answer.problem) == (504, "upstream-timeout")
    gate.await_reached()
    gate.open()

    def stops(wire: Wire, execution: Execution) -> None:
        wire.send(EVENTS + event(1))
        assert wire.hung_up()

    with house.caller() as caller:
        caller.send(house.call(house.run(), tool="glance", script=stops)).answer(head_only=True)
        assert caller.chunk() == b"data: 1\n\n"
        assert caller.closed()


@pytest.mark.fault(20)
def test_lost_reply_of_a_read_is_told_without_calling_it_a_write(house: House) -> None:
    """A read that was lost may simply be sent again."""
    answer = house.ask(house.run(), tool="search", script=ends_after(b"", reset=True))
    assert (answer.status, answer.problem) == (502, "upstream-lost")
    assert answer.json()["retry"] == "same-key"
    assert not answer.get("x-should-retry")


@pytest.mark.fault(23)
@pytest.mark.parametrize("reset", [False, True])
def test_cut_reply_of_a_read_looks_cut_to_its_caller(house: House, reset: bool) -> None:
    """Neither a length that is not reached nor chunks without an end can be taken for a whole answer."""
    cuts = (b"Content-Length: 9\r\n\r\nfour", b"Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n")
    for framed in cuts:
        data = house.call(house.run(), tool="search", script=ends_after(b"HTTP/1.1 200 OK\r\n" + framed, reset=reset))
        with house.caller() as caller:
            got = caller.send(data).rest()
        assert not got.endswith((b"0\r\n\r\n", b"fourfour1"))
        assert got.count(b"\r\n\r\n") <= 1


def test_close_delimited_reply_of_a_read_is_chunked_for_a_modern_caller(house: House) -> None:
    """Its end is told apart from a cut as far as the tool's connection tells; an old caller gets the end itself."""
    script = ends_after(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    data = house.call(house.run(), tool="search", script=script)
    answer = ask(house.port, data)
    assert (answer.body, answer.get("Connection")) == (b"all of it", "")
    old = ask(house.port, data.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert (old.body, old.get("Connection")) == (b"all of it", "close")


def test_reads_leave_no_connection_behind(house: House) -> None:
    """After many reads, hang-ups among them, the number of descriptors is what it was."""
    for caller_leaves in (False, True):
        with house.caller() as caller:
            caller.send(house.call(house.run(), tool="search"))
            if not caller_leaves:
                caller.answer()
    before = house.proxy.descriptors()
    for number in range(60):
        with house.caller() as caller:
            caller.send(
                house.call(house.run(), tool="search", script=says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"))
            )
            if number % 2:
                caller.answer(head_only=True)
    until(lambda: house.proxy.descriptors() <= before, "descriptors return")
