"""Files, line by line, within bounds: plain or gzip, by what is in them and not by their names; `-` is stdin."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

LINE_BYTES_MAX = 256 * 1024
"""What is longer is no log line that could be shown; the rest of it is dropped, whatever its length."""

GZIP = b"\x1f\x8b"
BUFFER_BYTES = 1024 * 1024


class Unreadable(Exception):
    """A file that ends in the middle of its compression; what came before was read."""


def open_file(name: str) -> BinaryIO:
    """Open a file, or stdin for `-`. Raises `OSError`."""
    return sys.stdin.buffer if name == "-" else Path(name).open("rb", buffering=BUFFER_BYTES)


def lines_of(file: BinaryIO, advance: Callable[[int], None] = lambda _: None) -> Iterator[tuple[int, str]]:
    """Yield the lines of an opened file with their numbers, without their ends; what is no UTF-8 is replaced.

    `advance` is told from time to time how many bytes of the file were read. Raises `Unreadable`.
    """
    counted = _Counted(file, advance)
    buffered = io.BufferedReader(counted, BUFFER_BYTES)
    head = buffered.peek(2)[:2]
    source: io.BufferedIOBase = gzip.GzipFile(fileobj=buffered) if head == GZIP else buffered
    number = 0
    try:
        while line := source.readline(LINE_BYTES_MAX):
            number += 1
            while len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
                rest = source.readline(LINE_BYTES_MAX)
                if len(rest) < LINE_BYTES_MAX or rest.endswith(b"\n"):
                    break
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            yield number, text.removeprefix("\ufeff") if number == 1 else text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable(str(error)) from None


class _Counted(io.RawIOBase):
    """Passes reads on and counts them, below gzip: progress is in bytes of the file as it lies there."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._file = file
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        assert isinstance(buffer, memoryview)
        data = self._file.read1(len(buffer)) if hasattr(self._file, "read1") else self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._advance(len(data))
        return len(data)
