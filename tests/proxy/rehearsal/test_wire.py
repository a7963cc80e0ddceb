"""Callers without sockets, on the real server."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from proxy.answer import Answer
from proxy.inbound.request import Request
from proxy.inbound.server import Server
from proxy.rehearsal.stage import quiet_log
from proxy.rehearsal.tool import Pieces
from proxy.rehearsal.virtual import run
from proxy.rehearsal.wire import Answered, ask
from proxy.response import AnswerWriter


async def echo(request: Request) -> None:
    """Answer with what was asked; `/slow` takes ten seconds, `/stream` comes in pieces."""
    body = await request.body.piece()
    if request.target == "/slow":
        await asyncio.sleep(10)
    head = ((b"X-Method", request.method.encode()), (b"X-Said", dict(request.fields).get(b"X-Say", b"")))
    given = Answer(200, b"", head, body, "read")
    if request.target == "/stream":
        given.stream = cast("Any", Pieces(b"x" * 3_000))
    await AnswerWriter(request, given).send()


def asked(method: str, target: str, body: bytes = b"", *, hang_up_s: float | None = None) -> Answered | None:
    """Ask the echo."""

    async def story() -> Answered | None:
        with quiet_log() as log:
            return await ask(Server(echo, log), method, target, ((b"X-Say", b"hello"),), body, hang_up_s=hang_up_s)

    return run(story())


def test_request_goes_in_and_its_answer_comes_out() -> None:
    """Through the real parser and the real writer."""
    found = asked("POST", "/echo", b"abc")
    assert found is not None
    assert (found.status, found.body, found.whole) == (200, b"abc", True)
    assert (found.header("x-method"), found.header("X-Said"), found.header("X-None")) == ("POST", "hello", None)


def test_streamed_answer_is_read_to_its_end() -> None:
    """Chunks and all."""
    found = asked("GET", "/stream")
    assert found is not None
    assert found.body == b"x" * 3_000


def test_caller_may_hang_up() -> None:
    """And gets nothing; one who waits long enough gets all."""
    assert asked("GET", "/slow", hang_up_s=5) is None
    assert asked("GET", "/slow", hang_up_s=15) is not None


def test_request_that_is_no_http_is_refused() -> None:
    """As over a socket."""
    found = asked("PO ST", "/")
    assert found is not None
    assert found.status == 400
