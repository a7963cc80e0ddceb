"""Passing a request on unguarded: read tools, and writes that the policy exempts. Streams both ways, no store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext

from proxy import answer, body
from proxy.answer import Answer, Outcome
from proxy.fields import VIA, Incoming, from_tool
from proxy.forward import Forward, Headers, Lost, NotSent, Outbound, Replied, ReplyStream, Truncated
from proxy.hang_up import until_hang_up
from proxy.inbound.request import Request
from proxy.metrics import Metrics
from proxy.observing import Observed
from proxy.problems import Kind
from proxy.rules import Ruled


async def pass_on(
    forward: Forward, metrics: Metrics, ruled: Ruled, request: Request, incoming: Incoming,
    outcome: Outcome, data: bytes | AsyncIterator[bytes] | None = None, seen: Observed | None = None,
) -> Answer:  # fmt: skip
    """Forward once and return the reply, as a stream unless it came in one piece. `data` is a body that was read
    already, or looked into.

    `timeouts.upstream` bounds the wait for the head and for each further piece, for an observed call (`seen` looks on)
    together with `timeouts.late`: enforcement would listen for as long.
    """
    policy = ruled.policy
    limit_s = policy.timeouts.upstream_ms / 1_000
    if outcome == "observed":
        limit_s += policy.timeouts.late_ms / 1_000
    outbound = _outbound(ruled, request, incoming, data)
    start = time.perf_counter()
    try:
        async with asyncio.timeout(limit_s) as limit:
            # A read that nobody waits for any more is hung up on; a write, even an unprotected one, is left to finish.
            waited_for = until_hang_up(request, limit) if outcome == "read" else nullcontext()
            with waited_for:
                on_sent = None if seen is None else seen.sent
                result = await forward(
                    outbound, on_sent=on_sent,
                    on_informational=lambda status, fields: request.tell(status, from_tool(fields)),
                )  # fmt: skip
    except TimeoutError:
        metrics.upstream_attempts.add(policy.tool, "timeout")
        return answer.refusal(Kind.READ_TIMEOUT, "no answer within the tool's time", outcome=outcome, close=True)
    upstream_s = time.perf_counter() - start
    metrics.forwarded(policy.tool, upstream_s, None)
    if seen is not None:
        result = seen.look_at(result)
    match result:
        case Replied():
            metrics.upstream_attempts.add(policy.tool, "replied")
            given = answer.of_reply(result, "", outcome)
            if given.stream is not None:
                given.stream = Timely(given.stream, limit_s)
            given.upstream_s, given.upstream_status = upstream_s, result.status
            return given
        case NotSent():
            metrics.upstream_attempts.add(policy.tool, "not-sent")
            kind = Kind.NOT_SENT_TIMEOUT if result.timed_out else Kind.NOT_SENT
            return answer.refusal(kind, f"{result.phase}: {result.why}", outcome=outcome)
        case Lost():
            metrics.upstream_attempts.add(policy.tool, "lost")
            return answer.refusal(Kind.READ_LOST, result.why, outcome=outcome, close=True)


class Timely:
    """A reply stream whose pieces each come within `piece_s`, or else is cut."""

    def __init__(self, stream: ReplyStream, piece_s: float) -> None:
        self._stream = stream
        self._pieces = stream.__aiter__()
        self._piece_s = piece_s

    @property
    def trailers(self) -> Headers:
        """The trailers, once the stream is at its end."""
        return from_tool(self._stream.trailers)

    def __aiter__(self) -> Timely:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._piece_s):
                return await self._pieces.__anext__()
        except TimeoutError:
            raise Truncated("the tool fell silent") from None

    def close(self) -> None:
        """Hang up on the tool."""
        self._stream.close()


def _outbound(
    ruled: Ruled, request: Request, incoming: Incoming, data: bytes | AsyncIterator[bytes] | None
) -> Outbound:
    policy, origin = ruled.policy, ruled.origin
    headers = (*ruled.headers(incoming), VIA) if policy.announce else ruled.headers(incoming)
    line, connect_ms = request.head.line, policy.timeouts.connect_ms
    if data is None and request.head.length is not None:
        data = request.body.at_hand()
    if isinstance(data, bytes):
        return Outbound(origin, line.raw_method, line.raw_target, headers, data, connect_ms=connect_ms)
    if data is None:
        request.welcome()
        data = body.stream(request)
    return Outbound(origin, line.raw_method, line.raw_target, headers, data, request.head.length, connect_ms=connect_ms)
