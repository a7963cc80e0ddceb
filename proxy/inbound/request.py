"""One request as its handler gets it: what the head says, the body as it comes, and the caller at the other end."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Transport
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from proxy.forward import Headers
from proxy.inbound.body import Body, Line
from proxy.inbound.head import Head

Serve = Callable[["Request"], Coroutine[Any, Any, None] | None]
"""Answers a request: at once, or in the coroutine that is returned, or later, if it is put off."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Caller(Line, Protocol):
    """What a request knows of its caller's connection.

    transport  None once the connection is lost.
    on_lost    called, once, when that happens.
    draining   whether this answer is the last one, because the process is about to end.
    """

    transport: Transport | None
    on_lost: Callable[[], None] | None

    def go_on(self, request: Request, serve: Serve) -> None:
        """Have a request answered that was put off until now."""

    @property
    def draining(self) -> bool:
        """See above."""

    async def drained(self) -> None:
        """Wait while the caller is behind. Raises `ConnectionResetError` if it has gone."""


class Request:
    """A request under way. Names and values of `head` are byte for byte what came, without white space around them.

    keep_alive  whether another request may follow; who answers clears it to end the connection.
    begun       part of an answer has been written.
    put_off     it is neither answered nor is somebody at it: who serves it tells its caller's connection to `go_on`.
    """

    __slots__ = ("begun", "body", "caller", "head", "keep_alive", "method", "minor", "path", "put_off", "target",
                 "welcomed")  # fmt: skip

    def __init__(self, caller: Caller, loop: AbstractEventLoop, head: Head) -> None:
        line = head.line
        self.caller = caller
        self.head = head
        self.method = line.method
        self.target = line.target
        self.path = line.path
        self.minor = line.minor
        self.keep_alive = head.keep_alive
        self.body = Body(caller, loop, head.length)
        self.begun = False
        self.put_off = False
        self.welcomed = not head.expects

    @property
    def fields(self) -> Headers:
        """The header fields, in their order."""
        return self.head.fields

    def welcome(self) -> None:
        """Tell a caller that waits for it to send its body, once, unless it has begun to (RFC 9110, 10.1.1)."""
        if self.welcomed:
            return
        self.welcomed = True
        body, transport = self.body, self.caller.transport
        if transport is not None and not (body.whole or body.begun or self.begun):
            transport.write(CONTINUE)

    def tell(self, status: int, headers: Headers) -> None:
        """Pass an interim reply on, to a caller that knows what that is (RFC 9110, 15.2)."""
        transport = self.caller.transport
        if self.minor and transport is not None and not transport.is_closing():
            fields = b"".join(b"%b: %b\r\n" % field for field in headers)
            transport.write(b"HTTP/1.1 %d \r\n%b\r\n" % (status, fields))

    def gone(self) -> bool:
        """Say whether the caller has hung up."""
        transport = self.caller.transport
        return transport is None or transport.is_closing()
