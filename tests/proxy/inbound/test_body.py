"""A body on its way in: counted or unchunked, waited for, held back, given up."""

from __future__ import annotations

import asyncio

import pytest

from proxy.inbound.body import BUFFER_BYTES_MAX, Body, Cut


class Held:
    """A connection that notes whether it is read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def pause(self) -> None:
        """Note it."""
        self.notes.append("paused")

    def resume(self) -> None:
        """Note it."""
        self.notes.append("resumed")


def a_body(length: int | None, line: Held | None = None) -> Body:
    """Return a body that has not begun."""
    return Body(line or Held(), asyncio.get_running_loop(), length)


async def test_body_of_no_length_is_whole_at_once() -> None:
    """And empty."""
    body = a_body(0)
    assert (body.whole, body.at_hand(), await body.piece()) == (True, b"", b"")


@pytest.mark.parametrize(("length", "data"), [(5, b"hello"), (None, b"5\r\nhello\r\n0\r\n\r\n")])
async def test_body_ends_where_it_said(length: int | None, data: bytes) -> None:
    """What follows is given back."""
    body = a_body(length)
    assert body.feed(data[:3]) == b""
    assert (body.begun, body.whole, body.at_hand()) == (True, False, None)
    assert body.feed(data[3:] + b"GET") == b"GET"
    assert (body.whole, body.at_hand(), await body.piece()) == (True, b"hello", b"")


async def test_reader_is_given_what_has_come_in_and_waits_for_more() -> None:
    """At least a byte, until the end."""
    body = a_body(6)
    body.feed(b"ab")
    body.feed(b"cd")
    assert await body.piece() == b"abcd"
    waiting = asyncio.ensure_future(body.piece())
    await asyncio.sleep(0)
    assert not waiting.done()
    body.feed(b"ef")
    assert await waiting == b"ef"
    assert await body.piece() == b""


@pytest.mark.parametrize("length", [9, None])
async def test_body_that_is_cut_short_is_none(length: int | None) -> None:
    """Whoever waits is told, and whoever asks later; what had come in may be read before."""
    body = a_body(length)
    waiting = asyncio.ensure_future(body.piece())
    await asyncio.sleep(0)
    body.fail("the caller hung up")
    with pytest.raises(Cut, match="hung up"):
        await waiting
    with pytest.raises(Cut, match="hung up"):
        await body.piece()
    assert body.broken
    assert body.feed(b"5\r\nhello") == b""
    assert body.at_hand() is None


async def test_whole_body_cannot_be_cut_any_more() -> None:
    """A caller that hangs up after its request has asked all the same."""
    body = a_body(2)
    body.feed(b"ab")
    body.fail("the caller hung up")
    assert (body.broken, body.at_hand()) == (False, b"ab")


async def test_malformed_chunks_break_the_body() -> None:
    """They are told to the reader, in words."""
    body = a_body(None)
    assert body.feed(b"zz\r\n") == b""
    with pytest.raises(Cut, match="size"):
        await body.piece()


@pytest.mark.parametrize("chunked", [False, True])
async def test_caller_is_held_back_until_the_reader_has_caught_up(chunked: bool) -> None:
    """A little is buffered, and then the caller has to wait."""
    line = Held()
    size = BUFFER_BYTES_MAX
    body = a_body(None if chunked else 4 * size, line)
    body.feed((b"%x\r\n" % (4 * size) if chunked else b"") + b"x" * size)
    assert line.notes == []
    body.feed(b"x")
    assert line.notes == ["paused"]
    assert len(await body.piece()) == size + 1
    assert line.notes == ["paused", "resumed"]


async def test_last_piece_holds_nobody_back() -> None:
    """What has come in whole is in memory anyway, and the next request may come."""
    line = Held()
    body = a_body(2 * BUFFER_BYTES_MAX, line)
    body.feed(b"x" * 2 * BUFFER_BYTES_MAX)
    assert (line.notes, body.whole) == ([], True)


async def test_body_that_nobody_wants_takes_no_room() -> None:
    """It is counted to its end, however long it is, and its caller is not held back."""
    line = Held()
    body = a_body(10 * BUFFER_BYTES_MAX, line)
    body.feed(b"x" * 2 * BUFFER_BYTES_MAX)
    body.spill()
    assert line.notes == ["paused", "resumed"]
    body.feed(b"x" * 7 * BUFFER_BYTES_MAX)
    assert (line.notes[2:], body.whole) == ([], False)
    assert body.feed(b"x" * BUFFER_BYTES_MAX + b"GET") == b"GET"
    assert (body.whole, body.at_hand()) == (True, b"")
