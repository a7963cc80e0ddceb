"""Logs: JSON lines that say no more than they should, and never stand in the way of a call."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from process.log import PENDING_BYTES_MAX
from proxy.log import Log, RequestLine
from tests.proxy.virtual import in_virtual_time, settled


class Pipe:
    """A pipe whose reader reads when the test says so."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def fill(self) -> int:
        """Write until no more goes in; return how much it was. The writing end blocks again afterwards."""
        os.set_blocking(self.writing, False)
        filled = 0
        try:
            while True:
                filled += os.write(self.writing, b"\n" * 4096)
        except BlockingIOError:
            os.set_blocking(self.writing, True)
            return filled

    def read(self) -> bytes:
        """Return what is there."""
        data = b""
        while True:
            try:
                piece = os.read(self.reading, 65_536)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def close(self) -> None:
        """Close both ends."""
        for end in (self.reading, self.writing):
            try:
                os.close(end)
            except OSError:
                continue


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe."""
    made = Pipe()
    yield made
    made.close()


def lines(data: bytes) -> list[dict[str, Any]]:
    """Return the log lines in `data`."""
    return [json.loads(line) for line in data.splitlines() if line]


def test_line_says_when_what_and_nothing_empty(pipe: Pipe) -> None:
    """Timestamp to the millisecond in UTC, level, service, event; fields that say nothing are left out."""
    log = Log(pipe.writing, now=lambda: 1_700_000_000.0426)
    log.event("settled", level="warning", operation="op_1", attempt=0, detail="", late=False, status=None, tool="t")
    assert lines(pipe.read()) == [
        {
            "ts": "2023-11-14T22:13:20.042Z", "level": "warning", "service": "holdfast-proxy", "event": "settled",
            "operation": "op_1", "tool": "t",
        }
    ]  # fmt: skip


def test_request_line_is_stamped(pipe: Pipe) -> None:
    """One line for each finished request, without what it has nothing to say about."""
    Log(pipe.writing, now=lambda: 1.5).request(RequestLine("", "info", "s", "request", operation="op_1", status=200))
    assert lines(pipe.read()) == [
        {
            "ts": "1970-01-01T00:00:01.500Z", "level": "info", "service": "s", "event": "request",
            "operation": "op_1", "status": 200,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(("level", "wanted"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_not_written(pipe: Pipe, level: Any, wanted: int) -> None:
    """`wants` says the same beforehand."""
    log = Log(pipe.writing, level=level)
    levels: list[Any] = ["debug", "info", "warning", "error"]
    for each in levels:
        log.event("e", level=each)
    assert len(lines(pipe.read())) == wanted == sum(log.wants(each) for each in levels)


def test_line_breaks_in_values_do_not_make_lines(pipe: Pipe) -> None:
    """What a caller sent cannot forge a line."""
    Log(pipe.writing).event("e", detail='x"}\n{"event": "forged"}\r\u2028')
    (line,) = lines(pipe.read())
    assert line["event"] == "e"


@in_virtual_time
async def test_lines_of_one_turn_are_written_at_once() -> None:
    """In their order, with one write a turn of the loop."""
    pipe = Pipe()
    log = Log(pipe.writing)
    for number in range(1, 4):
        log.event("e", number=number)
    assert pipe.read() == b""
    await settled()
    assert [line["number"] for line in lines(pipe.read())] == [1, 2, 3]
    pipe.close()


def test_keyed_hash_tells_equal_from_different_and_needs_the_key(pipe: Pipe) -> None:
    """Whoever has only the logs cannot try values out."""
    log, same, other = (Log(pipe.writing, key=key) for key in (b"a", b"a", b"b"))
    assert log.keyed("x") == same.keyed("x") != log.keyed("y")
    assert log.keyed("x") != other.keyed("x")
    assert len(log.keyed("x")) == 16


def test_reader_that_has_stopped_does_not_stop_the_process(pipe: Pipe) -> None:
    """The pipe is full and nobody reads: lines wait, the event loop goes on, and they come when there is room again."""
    filled = pipe.fill()
    passed = threading.Event()
    read: list[bytes] = []

    async def story() -> None:
        log = Log(pipe.writing)
        for number in range(1, 100):
            log.event("e", number=number, detail="x" * 500)
            await asyncio.sleep(0)
        passed.set()
        while len(b"".join(read)) < filled + 99 * 500:
            await asyncio.sleep(0.005)
            read.append(pipe.read())
        await asyncio.sleep(0.1)
        read.append(pipe.read())
        assert log.dropped == 0

    thread = threading.Thread(target=asyncio.run, args=(story(),))
    thread.start()
    went_on = passed.wait(30)
    if not went_on:
        pipe.read()
    thread.join(60)
    assert went_on, "the event loop stood still for a reader"
    assert [line["number"] for line in lines(b"".join(read))] == list(range(1, 100))


@in_virtual_time
async def test_lines_beyond_the_bound_are_dropped_and_counted() -> None:
    """A reader that never comes back does not fill our memory."""
    pipe = Pipe()
    pipe.fill()
    log = Log(pipe.writing)
    for _ in range(PENDING_BYTES_MAX // 100_000 + 10):
        log.event("e", detail="x" * 100_000)
        await settled(2)
    assert log.dropped > 0
    assert log._pending_bytes < PENDING_BYTES_MAX + 200_000
    pipe.close()
    log.flush()


@in_virtual_time
async def test_reader_that_is_gone_costs_lines_and_nothing_else() -> None:
    """A broken pipe is counted, and the next line is tried all the same."""
    pipe = Pipe()
    os.close(pipe.reading)
    log = Log(pipe.writing)
    log.event("one")
    log.event("two")
    await settled()
    assert log.dropped == 2
    log.event("three")
    await settled()
    assert log.dropped == 3
    pipe.close()


def test_full_pipe_without_a_loop_is_no_endless_loop(pipe: Pipe) -> None:
    """Before the start and after the end nobody can wait for the reader: what does not go out is dropped, and
    counted."""
    pipe.fill()
    log = Log(pipe.writing)
    log.event("late")
    assert log.dropped == 1


def test_file_takes_everything(tmp_path: Path) -> None:
    """Output that was redirected into a file."""
    with (tmp_path / "log").open("wb") as file:
        log = Log(file.fileno())
        log.event("e", detail="x" * 1_000_000)
    assert len((tmp_path / "log").read_bytes()) > 1_000_000


def test_descriptor_keeps_its_flags(pipe: Pipe) -> None:
    """It may be shared with a shell: making it non-blocking would break that."""
    before = fcntl.fcntl(pipe.writing, fcntl.F_GETFL)
    Log(pipe.writing).event("e")
    assert fcntl.fcntl(pipe.writing, fcntl.F_GETFL) == before
