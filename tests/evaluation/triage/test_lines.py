"""Files, line by line, within bounds."""

from __future__ import annotations

import gzip
import io
import os

import pytest

from evaluation.triage.lines import LINE_BYTES_MAX, Unreadable, lines_of


def test_lines_come_with_their_numbers_and_without_their_ends() -> None:
    """Both kinds of ends, a byte order mark, what is no UTF-8, and a last line without an end."""
    data = b"\xef\xbb\xbfone\r\n\ntw\xffo\nlast"
    assert list(lines_of(io.BytesIO(data))) == [(1, "one"), (2, ""), (3, "tw\ufffdo"), (4, "last")]


def test_gzip_is_known_by_what_is_in_it() -> None:
    """Whatever the file is called."""
    assert list(lines_of(io.BytesIO(gzip.compress(b"one\ntwo\n")))) == [(1, "one"), (2, "two")]


def test_gzip_that_is_cut_off_gives_what_came_before() -> None:
    """And then says that it was cut."""
    whole = b"".join(os.urandom(30).hex().encode() + b"\n" for _ in range(5_000))
    lines = lines_of(io.BytesIO(gzip.compress(whole)[:-2_000]))
    seen = 0
    with pytest.raises(Unreadable):  # noqa: PT012  # it is the loop that raises, after some lines
        for _ in lines:
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("more", [0, 1, LINE_BYTES_MAX - 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1, 5 * LINE_BYTES_MAX])
def test_line_that_is_too_long_is_cut_and_the_next_one_is_whole(more: int) -> None:
    """The rest of it is dropped, whatever its length, and line numbers stay right."""
    lines = list(lines_of(io.BytesIO(b"x" * (LINE_BYTES_MAX + more) + b"\nnext\n")))
    assert [number for number, _ in lines] == [1, 2]
    assert len(lines[0][1]) == LINE_BYTES_MAX
    assert lines[1][1] == "next"


def test_progress_is_in_bytes_of_the_file_as_it_lies_there() -> None:
    """Compressed ones, if it is compressed."""
    data = gzip.compress(b"line\n" * 10_000)
    counted: list[int] = []
    assert sum(1 for _ in lines_of(io.BytesIO(data), counted.append)) == 10_000
    assert sum(counted) == len(data)
