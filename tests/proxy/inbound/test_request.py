"""A request as its handler gets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from proxy.inbound.head import read_head
from proxy.inbound.request import CONTINUE, Request, Serve
from proxy.rehearsal.wire import Wire


class Calling:
    """A caller at the other end of a wire."""

    draining = False

    def __init__(self) -> None:
        self.wire = Wire(asyncio.Protocol())
        self.transport: asyncio.Transport | None = self.wire
        self.on_lost: Callable[[], None] | None = None

    def pause(self) -> None:
        """Nothing comes."""

    def resume(self) -> None:
        """As above."""

    async def drained(self) -> None:
        """It takes everything."""

    def go_on(self, request: Request, serve: Serve) -> None:
        """Nothing is put off here."""
        raise NotImplementedError

    @property
    def got(self) -> bytes:
        """What it was sent."""
        return bytes(self.wire.written)


def asked(*lines: bytes, version: bytes = b"1.1") -> tuple[Request, Calling]:
    """Return a request and who asks."""
    caller = Calling()
    head = read_head(b"\r\n".join((b"POST /a?b HTTP/" + version, b"Host: a", *lines, b"", b"")))
    return Request(caller, asyncio.get_running_loop(), head), caller


EXPECTS = b"Expect: 100-continue", b"Content-Length: 3"


async def test_request_says_what_its_head_says() -> None:
    """The line's words, the fields, and whether more may follow."""
    request, _ = asked(b"X-A: 1", b"Connection: close")
    assert (request.method, request.target, request.path, request.minor) == ("POST", "/a?b", "/a", 1)
    assert request.fields == ((b"Host", b"a"), (b"X-A", b"1"), (b"Connection", b"close"))
    assert not request.keep_alive


async def test_caller_that_waits_is_told_to_go_on_once() -> None:
    """When somebody wants its body."""
    request, caller = asked(*EXPECTS)
    assert caller.got == b""
    request.welcome()
    request.welcome()
    assert caller.got == CONTINUE


async def test_nobody_is_told_to_go_on_who_does_not_wait() -> None:
    """Not without asking, nor in HTTP/1.0, nor once the body has begun or there is none (RFC 9110, 10.1.1)."""
    for lines, version in (((b"Content-Length: 3",), b"1.1"), (EXPECTS, b"1.0"), (EXPECTS[:1], b"1.1")):
        request, caller = asked(*lines, version=version)
        request.welcome()
        assert caller.got == b""
    request, caller = asked(*EXPECTS)
    request.body.feed(b"a")
    request.welcome()
    assert caller.got == b""


async def test_nothing_is_written_to_a_caller_that_has_gone() -> None:
    """It has no transport any more, or one that is closing."""
    for gone in (True, False):
        request, caller = asked(*EXPECTS)
        assert not request.gone()
        if gone:
            caller.transport = None
        else:
            cast("Wire", caller.transport).close()
        request.welcome()
        request.tell(103, ())
        assert request.gone()
        assert caller.got == b""


async def test_interim_reply_is_told_to_a_modern_caller() -> None:
    """Status and fields; HTTP/1.0 does not know what that is."""
    request, caller = asked()
    request.tell(103, ((b"Link", b"</a>"), (b"X", b"")))
    assert caller.got == b"HTTP/1.1 103 \r\nLink: </a>\r\nX: \r\n\r\n"
    old, caller = asked(version=b"1.0")
    old.tell(103, ())
    assert caller.got == b""
