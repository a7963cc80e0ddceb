"""One caller's connection over a real socket: the order of answers, what is held back, what ends it and how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from proxy.answer import Answer
from proxy.inbound import connection
from proxy.inbound.body import BUFFER_BYTES_MAX, Cut
from proxy.inbound.request import Request
from proxy.inbound.server import Server
from proxy.log import Log
from proxy.response import AnswerWriter

pytestmark = pytest.mark.loops("asyncio", "uvloop")


def get(target: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Return a request."""
    sized = (f"Content-Length: {len(body)}",) if body else ()
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: a", *lines, *sized, "", "")).encode() + body


def answered(body: bytes) -> bytes:
    """Return what the house answers with."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def plain(body: bytes) -> Answer:
    """Return an answer."""
    return Answer(200, b"", (), body, "read")


class House:
    """Answers with the target. `/later/…` waits for `go`; `/off/…` is put off until the test goes on with it; `/big/…`
    is a megabyte, `/huge` twenty; `/body` tells of the body, `/deaf` does not look at it; `/fail` fails at once, and
    `/half` when its answer has begun."""

    def __init__(self, log: Log) -> None:
        self.seen: list[str] = []
        self.refused: list[Answer] = []
        self.cut: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.hung_up = asyncio.Event()
        self.go = asyncio.Event()
        self.reached = asyncio.Event()
        self.put_off: list[Request] = []
        self.server = Server(self.serve, log, self.refused.append)

    def serve(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer at once, or later."""
        self.seen.append(request.target)
        match request.path.split("/")[1]:
            case "later" | "half":
                return self._later(request)
            case "body":
                return self._body(request)
            case "off" if not request.put_off and request not in self.put_off:
                request.put_off = True
                self.put_off.append(request)
                self.reached.set()
            case "fail":
                raise KeyError("a secret")
            case "refused":
                raise ConnectionRefusedError("a secret")
            case "big" | "huge" as size:
                AnswerWriter(request, plain(b"x" * (1_000_000 if size == "big" else 20_000_000))).send_whole()
            case _:
                AnswerWriter(request, plain(request.target.encode())).send_whole()
        return None

    async def _later(self, request: Request) -> None:
        self.reached.set()
        request.caller.on_lost = self.hung_up.set
        await self.go.wait()
        if request.path == "/half":
            request.begun = True
            raise KeyError("a secret")
        await AnswerWriter(request, plain(request.target.encode())).send()

    async def _body(self, request: Request) -> None:
        request.welcome()
        body = b""
        self.reached.set()
        try:
            while piece := await request.body.piece():
                body += piece
        except Cut as cut:
            self.cut.set_result(str(cut))
            raise ConnectionResetError from None
        await AnswerWriter(request, plain(body)).send()


Open = Callable[[], "Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[tuple[House, Open]]:
    """A house, and how to connect to it."""
    with (tmp_path / "log").open("wb") as sink:
        house = House(Log(sink.fileno()))
        listener = await asyncio.get_running_loop().create_server(house.server, "127.0.0.1", 0)
        address = listener.sockets[0].getsockname()
        writers: list[asyncio.StreamWriter] = []

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(*address)
            writers.append(writer)
            return reader, writer

        yield house, connect
        house.go.set()
        for writer in writers:
            writer.close()
        listener.close()
        await house.server.shutdown(1)


async def read(reader: asyncio.StreamReader, *expected: bytes) -> None:
    """Read exactly these answers."""
    for one in expected:
        assert await reader.readexactly(len(one)) == one


Given = tuple[House, Open]


@pytest.mark.fault(16)
async def test_answers_come_in_the_order_of_their_requests(house: Given) -> None:
    """A slow one holds up all behind it, which are not even looked at before it is their turn."""
    inside, connect = house
    reader, writer = await connect()
    writer.write(get("/1") + get("/later/2") + get("/3") + get("/body", method="POST", body=b"four") + get("/5"))
    await read(reader, answered(b"/1"))
    await inside.reached.wait()
    assert inside.seen == ["/1", "/later/2"]
    inside.go.set()
    await read(reader, answered(b"/later/2"), answered(b"/3"), answered(b"four"), answered(b"/5"))


@pytest.mark.fault(16)
async def test_request_that_was_put_off_is_answered_in_its_turn(house: Given) -> None:
    """At once when it goes on, or in a task; what came behind it waits in either case. A fault of ours is told."""
    inside, connect = house
    reader, writer = await connect()
    writer.write(get("/off/1") + get("/off/2") + get("/3") + get("/off/4"))
    await inside.reached.wait()
    assert inside.seen == ["/off/1"]
    (first,) = inside.put_off
    first.caller.go_on(first, inside.serve)
    await read(reader, answered(b"/off/1"))
    _, second = inside.put_off
    second.caller.go_on(second, inside._later)
    assert not inside.put_off[1].put_off
    inside.go.set()
    await read(reader, answered(b"/off/2"), answered(b"/3"))
    inside.put_off[2].caller.go_on(inside.put_off[2], lambda _: [].pop())
    assert (await reader.read()).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("how", ["at once", "in a task"])
async def test_caller_of_what_was_put_off_hangs_up(house: Given, how: str) -> None:
    """Its connection is remembered until the request is done with, and no longer; the answer goes nowhere."""
    inside, connect = house
    _, writer = await connect()
    writer.write(get("/off/1"))
    await inside.reached.wait()
    (request,) = inside.put_off
    writer.transport.abort()
    while request.caller.transport is not None:
        await inside.server._change()
    assert len(inside.server._connections) == 1
    request.caller.go_on(request, inside.serve if how == "at once" else inside._later)
    inside.go.set()
    while inside.server._connections:
        await inside.server._change()


@pytest.mark.fault(16)
async def test_pipeline_that_is_too_long_waits_outside(house: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a request is served, a bounded part of what follows is taken in; all of it is answered in the end."""
    monkeypatch.setattr(connection, "PENDING_BYTES_MAX", 1_000)
    inside, connect = house
    reader, writer = await connect()
    writer.write(get("/later/0"))
    await inside.reached.wait()
    padding = "X: " + "y" * 10_000
    count = 1_000  # ten megabytes: more than the kernel's buffers take
    writer.write(b"".join(get(f"/{number}", padding) for number in range(count)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await writer.drain()
    inside.go.set()
    await read(reader, answered(b"/later/0"), *(answered(b"/%d" % number) for number in range(count)))


async def test_caller_that_takes_nothing_is_served_no_further(house: Given) -> None:
    """Answers are not piled up for whoever does not read them, however many requests have come in."""
    inside, connect = house
    reader, writer = await connect()
    writer.write(b"".join(get(f"/big/{number}") for number in range(50)))
    await writer.drain()
    seen = -1
    while seen < 1 or len(inside.seen) != seen:
        seen = len(inside.seen)
        await asyncio.sleep(0.05)
    assert seen < 25
    for _ in range(50):
        await read(reader, answered(b"x" * 1_000_000))
    assert len(inside.seen) == 50


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_body_is_read_as_it_comes_and_what_follows_it_is_the_next_request(house: Given, framing: str) -> None:
    """Byte by byte over the wire."""
    inside, connect = house
    reader, writer = await connect()
    data = get("/body", method="POST", body=b"hello")
    if framing == "chunked":
        data = get("/body", "Transfer-Encoding: chunked", method="POST") + b"2\r\nhe\r\n3;x\r\nllo\r\n0\r\nX: 1\r\n\r\n"
    for byte in data + get("/next"):
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    await read(reader, answered(b"hello"), answered(b"/next"))
    assert inside.seen == ["/body", "/next"]


async def test_large_upload_is_held_back_until_it_is_read(house: Given) -> None:
    """Back-pressure reaches the caller: the process holds a buffer of it, the kernel some, the caller the rest."""
    _, connect = house
    reader, writer = await connect()
    body = bytes(range(256)) * 40_000
    writer.write(get("/body", method="POST", body=body))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(len(body)) == body


async def test_caller_is_told_to_send_its_body_when_it_is_wanted(house: Given) -> None:
    """Once, before the answer."""
    _, connect = house
    reader, writer = await connect()
    writer.write(get("/body", "Expect: 100-continue", "Content-Length: 5", method="POST"))
    await read(reader, b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.write(b"hello" + get("/next"))
    await read(reader, answered(b"hello"), answered(b"/next"))


async def test_body_that_nobody_wants_is_passed_over(house: Given) -> None:
    """The answer does not wait for it, and the connection goes on behind it."""
    inside, connect = house
    reader, writer = await connect()
    size = 10 * BUFFER_BYTES_MAX
    writer.write(get("/deaf", f"Content-Length: {4 + size}", method="POST") + b"half")
    await read(reader, answered(b"/deaf"))
    writer.write(b"x" * size + get("/next"))
    await read(reader, answered(b"/next"))
    assert inside.seen == ["/deaf", "/next"]


async def test_body_that_nobody_wants_and_nobody_sends_ends_the_connection(
    house: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for long; and not at all where the caller waits for a word that does not come."""
    _, connect = house
    for lines, linger_s in (((), 0.05), (("Expect: 100-continue",), 50.0)):
        monkeypatch.setattr(connection, "LINGER_S", linger_s)
        reader, writer = await connect()
        writer.write(get("/deaf", "Content-Length: 9", *lines, method="POST"))
        assert await reader.read() == answered(b"/deaf")


async def test_refusal_is_not_destroyed_by_what_its_caller_still_sends(house: Given) -> None:
    """Our side is ended first, and the rest is read and thrown away: closing on unread bytes would be a reset."""
    inside, connect = house
    reader, writer = await connect()
    writer.write(b"GET / HTTP/9.9\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    for _ in range(20):
        writer.write(get("/smuggled") * 100)
        await writer.drain()
    assert b"bad-request" in await reader.read()
    assert inside.seen == []
    assert [given.status for given in inside.refused] == [400]


async def test_malformed_request_behind_good_ones_is_refused_in_its_turn(house: Given) -> None:
    """Those before it are answered first, and nothing after it is read."""
    inside, connect = house
    reader, writer = await connect()
    writer.write(get("/1") + get("/later/2") + b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n" + get("/4"))
    await inside.reached.wait()
    inside.go.set()
    await read(reader, answered(b"/1"), answered(b"/later/2"))
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    assert inside.seen == ["/1", "/later/2"]


@pytest.mark.parametrize("how", ["close", "eof", "abort"])
async def test_hang_up_is_noticed_while_an_answer_is_made(house: Given, how: str) -> None:
    """Also when only the caller's side was ended; what is under way goes on, and its answer goes nowhere."""
    inside, connect = house
    _, writer = await connect()
    writer.write(get("/later/1"))
    await inside.reached.wait()
    if how == "eof":
        writer.write_eof()
    else:
        (writer.close if how == "close" else writer.transport.abort)()
    await inside.hung_up.wait()
    inside.go.set()
    await inside.server.shutdown(1)


async def test_hang_up_within_a_body_is_told_to_its_reader(house: Given) -> None:
    """Half a body is none."""
    inside, connect = house
    _, writer = await connect()
    writer.write(get("/body", "Content-Length: 9", method="POST") + b"half")
    await inside.reached.wait()
    writer.close()
    assert await inside.cut == "the caller hung up"


@pytest.mark.parametrize("target", ["/fail", "/refused", "/half"])
async def test_fault_of_ours_ends_the_connection(house: Given, target: str) -> None:
    """With a 500 if nothing was written, and with a cut that nobody takes for an end if something was. When it is
    another connection of ours that is refused, the caller has not gone."""
    inside, connect = house
    inside.go.set()
    reader, writer = await connect()
    writer.write(get(target) + get("/next"))
    try:
        got = await reader.read()
    except ConnectionResetError:
        got = b""
    assert got.startswith(b"HTTP/1.1 500 ") is (target != "/half")
    assert b"secret" not in got
    assert "/next" not in inside.seen


async def test_answer_that_its_caller_does_not_take_is_not_kept_for_ever(
    house: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was closed is gone after a while, taken or not."""
    monkeypatch.setattr(connection, "TAKE_S", 0.1)
    inside, connect = house
    reader, writer = await connect()
    writer.write(get("/huge", "Connection: close"))
    await reader.readuntil(b"\r\n\r\n")
    inside.server.draining = True
    async with asyncio.timeout(10):
        while inside.server._connections:
            await inside.server._change()
    try:
        left = len(await reader.read())
    except ConnectionResetError:
        left = 0
    assert left < 20_000_000


async def test_pipelined_at_once_answers_do_not_nest(house: Given) -> None:
    """A thousand requests in one segment are a loop, not a recursion."""
    _, connect = house
    reader, writer = await connect()
    writer.write(b"".join(get(f"/{number}") for number in range(3_000)))
    await read(reader, *(answered(b"/%d" % number) for number in range(3_000)))


async def test_later_answers_in_a_pipeline_do_not_nest(house: Given) -> None:
    """Nor are those that each take a task."""
    inside, connect = house
    inside.go.set()
    reader, writer = await connect()
    writer.write(b"".join(get(f"/later/{number}") for number in range(3_000)))
    await read(reader, *(answered(b"/later/%d" % number) for number in range(3_000)))


async def test_head_and_idle_times_are_kept_apart(house: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle connection may be idle for long, and a head that has begun on it has its own, shorter time."""
    monkeypatch.setattr(connection, "HEADER_S", 0.1)
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 30.0)
    _, connect = house
    reader, writer = await connect()
    writer.write(get("/1"))
    await read(reader, answered(b"/1"))
    await asyncio.sleep(0.3)  # longer than a head may take: this is the time that the test is about
    writer.write(get("/2") + b"GET /3 HT")
    await read(reader, answered(b"/2"))
    assert await reader.read() == b""
