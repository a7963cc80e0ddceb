"""Listeners: who is told, how often, and what one that fails does to the others."""

from __future__ import annotations

import asyncio
from typing import Any

from coordinator.stores.holds import EVERYBODY, Told
from coordinator.stores.listeners import Listeners


async def test_each_piece_of_news_is_told_once_to_whom_it_concerns() -> None:
    """In the loop's next turn, not within the call."""
    listeners, a, b = Listeners(), list[str](), list[str]()
    listeners.add("a", a.append)
    listeners.add("b", b.append)
    news = [Told("a", "run_1"), EVERYBODY, Told("a", "run_1"), EVERYBODY, Told("c", "run_2")]
    listeners.tell(asyncio.get_running_loop(), news)
    assert (a, b) == ([], [])
    await asyncio.sleep(0)
    assert (a, b) == (["run_1", ""], [""])


async def test_listener_that_fails_harms_no_other() -> None:
    """The loop reports it, and goes on with the next."""
    listeners, heard = Listeners(), list[str]()
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    listeners.add("a", lambda _key: heard[9])  # type: ignore[arg-type]
    listeners.add("b", heard.append)
    listeners.tell(loop, [EVERYBODY])
    await asyncio.sleep(0)
    assert heard == [""]
    assert len(reported) == 1
