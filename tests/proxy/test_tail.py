"""A listener to the log: bounded, narrowed, told what it missed."""

from __future__ import annotations

import asyncio
import json
import os

from proxy.log import Log
from proxy.tail import LINES_MAX, Tail
from tests.proxy.virtual import in_virtual_time, now


@in_virtual_time
async def test_listener_that_is_slow_loses_the_newest_lines_and_is_told_how_many() -> None:
    """Memory is bounded, whoever listens."""
    tail = Tail({})
    for _ in range(LINES_MAX + 7):
        tail.offer(b"{}")
    come = await anext(tail.follow())
    assert (len(come.lines), come.dropped) == (LINES_MAX, 7)


@in_virtual_time
async def test_only_what_is_wanted_is_told() -> None:
    """All the fields that are named must be as they are named."""
    tail = Tail({"tool": "a", "event": "settled"})
    for line in ({"tool": "a", "event": "request"}, {"tool": "a", "event": "settled"}, {"event": "settled"}):
        tail.offer(json.dumps(line).encode())
    come = await anext(tail.follow())
    assert [json.loads(line) for line in come.lines] == [{"tool": "a", "event": "settled"}]


@in_virtual_time
async def test_silence_is_broken_now_and_then() -> None:
    """So that nothing on the way takes the connection for dead."""
    come = await anext(Tail({}).follow(quiet_s=15))
    assert (come.lines, come.dropped, now()) == ([], 0, 15)


@in_virtual_time
async def test_closed_tail_tells_what_it_has_and_ends() -> None:
    """A process that stops waits for nobody who listens."""
    tail = Tail({})
    tail.offer(b'{"event": "proxy.draining"}')
    asyncio.get_running_loop().call_later(1, tail.close)
    assert [len(come.lines) async for come in tail.follow()] == [1]


def test_lines_below_the_level_go_to_listeners_and_not_to_the_output() -> None:
    """Who follows wants to see transitions, which are debug lines."""
    fd = os.memfd_create("log")
    try:
        log = Log(fd, level="info")
        assert not log.wants("debug")
        tail = Tail({})
        log.tails.append(tail)
        assert log.wants("debug")
        log.event("settled", level="debug")
        log.event("proxy.started")
        log.flush()
        assert [json.loads(line)["event"] for line in tail._lines] == ["settled", "proxy.started"]
        assert os.pread(fd, 10_000, 0).count(b"\n") == 1
    finally:
        os.close(fd)
