"""Noticing that a caller has hung up while a request of theirs is being answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from proxy.inbound.request import Request


@contextmanager
def on_hang_up(request: Request, callback: Callable[[], None]) -> Iterator[None]:
    """Within this context, `callback` is called when the caller hangs up; at once if it has."""
    caller = request.caller
    if request.gone():
        callback()
    caller.on_lost = callback
    try:
        yield
    finally:
        caller.on_lost = None


@contextmanager
def until_hang_up(request: Request, limit: asyncio.Timeout) -> Iterator[None]:
    """Within this context, `limit` is over when the caller hangs up."""

    def end() -> None:
        if not limit.expired():  # it may be over in the same turn of the loop, and cannot be moved any more
            limit.reschedule(asyncio.get_running_loop().time())

    with on_hang_up(request, end):
        yield
