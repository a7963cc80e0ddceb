"""aiohttp's low-level server, with our answers to what its parser refuses and none of its access log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from proxy import answer
from proxy.hang_up import AttentiveConnection
from proxy.log import Log
from proxy.problems import Kind
from proxy.response import AnswerWriter, as_response

HEADER_S = 10.0
"""For a request's head to be whole, and for an idle connection to be used again (contract, section 6)."""

HEAD_LINE_BYTES_MAX = 16_384
HEADERS_MAX = 128
LINGER_S = 1.0
"""How long an unread body is read on before the connection is closed on it."""

_quiet = logging.getLogger("holdfast.server")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False
_off = logging.getLogger("holdfast.server.access")
_off.disabled = True
"""aiohttp's own log lines print what clients sent; ours do not."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Connection(AttentiveConnection):
    """One caller's connection."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what the parser refused (400) or a handler that failed (500); the connection closes either way."""
        kind = Kind.BAD_REQUEST if status < 500 else Kind.INTERNAL
        detail = "the request is not well-formed HTTP/1.1" if status < 500 else "see Holdfast's log"
        return as_response(AnswerWriter(request, answer.refusal(kind, detail, close=True)))


class Server(web.Server):
    """Makes our kind of connection. Handlers go on after their caller hung up (`handler_cancellation` off)."""

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(
            self, loop=asyncio.get_running_loop(), keepalive_timeout=HEADER_S, logger=_quiet, access_log=_off,
            auto_decompress=False, lingering_time=LINGER_S, max_line_size=HEAD_LINE_BYTES_MAX,
            max_field_size=HEAD_LINE_BYTES_MAX, max_headers=HEADERS_MAX,
        )  # fmt: skip


def make_server(handler: Handler, log: Log) -> Server:
    """Return a server for `handler`; a handler that fails is logged here, where the cause is known."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            raise
        except Exception as error:
            # Whatever went wrong, its forward (if any) lives in a task of its own and settles; this only tells people.
            log.event("request.failed", level="error", error=type(error).__name__, where=_where(error))
            raise

    return Server(handle, handler_cancellation=False)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
