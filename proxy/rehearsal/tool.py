"""The tool of a rehearsal: it stands behind the forward's port and does as its script says."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

from policies.cases import Reply
from proxy.forward import Headers, Lost, NotSent, Outbound, Outcome, Replied

NOT_SENT_S = 0.01
PIECE_BYTES = 1_024


class Pieces:
    """A reply that comes as a stream."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def trailers(self) -> Headers:
        """None."""
        return ()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), PIECE_BYTES):
            yield self._body[start : start + PIECE_BYTES]

    def close(self) -> None:
        """Nothing is held."""


class ScriptedTool:
    """Plays `replies` to calls and `probes` to probes; the last of each is repeated.

    A probe is a GET that no caller asked for: `asked` says what callers did. `calls` and `probed` are the requests that
    reached the tool, in order.
    """

    def __init__(
        self, replies: Iterable[Reply], probes: Iterable[Reply], asked: Iterable[tuple[str, str]],
        now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._replies = deque(replies)
        self._answers = deque(probes)
        self._asked = frozenset(asked)
        self._now_ms = now_ms
        self._first_ms: int | None = None
        self._operation = b""
        self.calls: list[Outbound] = []
        self.probed: list[Outbound] = []

    async def __call__(
        self,
        request: Outbound,
        *,
        on_sent: Callable[[], None] | None = None,
        on_informational: Callable[[int, Headers], None] | None = None,
    ) -> Outcome:
        """See `proxy.forward.Forward`."""
        probe = request.method == b"GET" and ("GET", request.target.decode()) not in self._asked
        script = self._answers if probe else self._replies
        reply = script.popleft() if len(script) > 1 else script[0]
        if reply.fails == "not-sent":
            await asyncio.sleep(NOT_SENT_S)
            return NotSent("connect", "refused")
        if on_sent is not None:
            on_sent()
        if not isinstance(request.body, bytes):
            async for _ in request.body:
                pass
        (self.probed if probe else self.calls).append(request)
        self._note(request, probe=probe)
        if reply.fails == "hangs":
            await asyncio.Event().wait()
        await asyncio.sleep(reply.after_ms / 1_000)
        return Lost("connection reset") if reply.fails else self._replied(reply, request)

    def _note(self, request: Outbound, *, probe: bool) -> None:
        named = {name.lower(): value for name, value in request.headers}
        self._operation = named.get(b"holdfast-operation", self._operation)
        if not probe and self._first_ms is None:
            self._first_ms = self._now_ms()

    def _replied(self, reply: Reply, request: Outbound) -> Replied:
        body = self._filled(reply.body)
        headers = tuple((name.encode(), self._filled(value.encode())) for name, value in reply.headers)
        if reply.streams:
            return Replied(reply.status, b"", headers, b"", "chunked", Pieces(body))
        headers += ((b"Content-Length", b"%d" % len(body)),)
        if len(body) > request.keep_bytes_max:
            return Replied(reply.status, b"", headers, b"", "length", Pieces(body))
        return Replied(reply.status, b"", headers, body, "length")

    def _filled(self, text: bytes) -> bytes:
        """Put the newest call's operation, and the time of the first call, where the script asks for them."""
        moment = dt.datetime.fromtimestamp((self._first_ms or self._now_ms()) / 1_000, dt.UTC)
        return text.replace(b"{operation}", self._operation).replace(b"{time}", moment.isoformat().encode())
