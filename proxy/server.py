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
        """Answer what the parser refused (400) or a handler that failed (500); the connection closes either way.

        Whatever went wrong in a handler, its forward (if any) lives in a task of its own and settles: this only tells.
        """
        if status < 500:
            kind, detail = Kind.BAD_REQUEST, "the request is not well-formed HTTP/1.1"
        else:
            kind, detail = Kind.INTERNAL, "see Holdfast's log"
            if isinstance(self._manager, Server) and exc is not None and not isinstance(exc, ConnectionError):
                self._manager.failed(exc)
        return as_response(AnswerWriter(request, answer.refusal(kind, detail, close=True)))


class Server(web.Server):
    """Makes our kind of connection. Handlers go on after their caller hung up (`handler_cancellation` off)."""

    def __init__(self, handler: Handler, log: Log) -> None:
        super().__init__(handler, handler_cancellation=False)
        self._log = log

    def __call__(self) -> RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(
            self, loop=asyncio.get_running_loop(), keepalive_timeout=HEADER_S, logger=_quiet, access_log=_off,
            auto_decompress=False, lingering_time=LINGER_S, max_line_size=HEAD_LINE_BYTES_MAX,
            max_field_size=HEAD_LINE_BYTES_MAX, max_headers=HEADERS_MAX,
        )  # fmt: skip

    def failed(self, error: BaseException) -> None:
        """Log that a handler failed, and where."""
        self._log.event("request.failed", level="error", error=type(error).__name__, where=_where(error))


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
