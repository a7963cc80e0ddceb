"""The forward's port: one function, three outcomes.

`forward(request)` sends a request to the tool **once** and tells what came of it. Whether a byte was written is the
very
thing that Holdfast must know, so the outcome says it in its type:

* `NotSent`: provably nothing reached the tool (name resolution, connect or TLS failed). The only outcome after which
  sending again is safe.
* `Replied`: the tool answered, and the answer was well-formed as far as it has been read.
* `Lost`: anything else. The tool may or may not have acted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Literal, Protocol

from msgspec import Struct

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]


class Origin(Struct, frozen=True):
    """Whom to dial. `host` is a name or an address without brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int


class Outbound(Struct, frozen=True):
    """A request as it goes to the tool, byte for byte.

    `headers` are complete but for framing and connection fields (Content-Length, Transfer-Encoding, Connection), which
    the forward adds. `body` is whole, or an iterator for a streamed upload; `body_length` is then its length if
    announced, else the upload is chunked. `keep_bytes_max` is how much of a reply is gathered before it is handed over
    as a stream: 0 hands every reply over as soon as its head is in. `write_ms` bounds how long a whole body may wait
    here for the tool to take it (0: for ever); then the connection is dropped, and no byte of it is sent any later.
    """

    origin: Origin
    method: bytes
    target: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    body_length: int | None = None
    connect_ms: int = 2_000
    keep_bytes_max: int = 0
    write_ms: int = 0


class Truncated(Exception):
    """A streamed reply ended before it was whole."""


class ReplyStream(Protocol):
    """The rest of a reply that is not kept. Reading slowly slows the tool down; closing hangs up on it."""

    @property
    def trailers(self) -> Headers:
        """The trailers, once the stream is at its end."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield pieces as they come in. Raises `Truncated` when the reply is cut short or malformed."""
        ...

    def close(self) -> None:
        """Stop reading; the connection is dropped unless the reply is already whole."""


class Replied(Struct, frozen=True):
    """The tool answered.

    `body` is whole when `stream` is None; otherwise it is what had come in when the reply proved too large to keep (or
    was to be streamed anyway) and `stream` yields the rest. `framing` tells how the end is known: by `length`,
    `chunked`, `close` (the connection's end, which a cut looks just like) or `none` (HEAD, 204, 304: there is no body).
    Headers keep their order and case; hop-by-hop fields (RFC 9110, 7.6.1) are still in.
    """

    status: int
    reason: bytes
    headers: Headers
    body: bytes
    framing: Literal["length", "chunked", "close", "none"]
    stream: ReplyStream | None = None
    trailers: Headers = ()


class NotSent(Struct, frozen=True):
    """Provably nothing was written. `timed_out` tells a 504 from a 502."""

    phase: Literal["resolve", "connect", "tls"]
    why: str
    timed_out: bool = False


class Lost(Struct, frozen=True):
    """The connection failed, was cut or spoke nonsense after the first byte was written. `why` is for logs and
    people."""

    why: str


Outcome = Replied | NotSent | Lost


class Forward(Protocol):
    """Send once. Cancelling the call hangs up on the tool."""

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """Forward `request`. `on_sent` is called right before the first byte is written; `on_informational` for each
        1xx reply but 100 and 101 (a 101 is `Lost`: nobody asked to switch)."""
        ...
