"""From lines to records: a log line with its continuation, a JSON object over one line or many, a line of metrics.

Lines that are none of these are skipped and counted. Nothing is ever guessed at: prose stays prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from evaluation.triage.event import Metric
from evaluation.triage.moments import Moment, moment

CONTINUATIONS_MAX = 60
OBJECT_LINES_MAX = 400
RECORD_CHARACTERS_MAX = 512 * 1024
"""A record beyond these is cut: it is garbage, or nobody's log."""

CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
HEAD = re.compile(rf"\s*\[?(\d{{4}}-\d\d-\d\d[T ]{CLOCK}(?:Z|[+-]\d\d:?\d\d)?|{CLOCK}Z?)\]?\s+(\S.*)")
LOGFMT = re.compile(r'\s*(?:ts|time|timestamp)=(?:"([^"]*)"|(\S+))\s+(\S.*)')
PAIRS_ONLY = re.compile(r"\s+[A-Za-z_][\w.-]*=")
SNAPSHOT = re.compile(
    r"\s*(?:[-*•]\s*)?([A-Za-z_]\w*(?:\.\w+)+)\s*:\s*(-?\d[\d.]*)\s*(%|[A-Za-z]{1,3})?\s*"
    r"\(baseline:?\s+(-?\d[\d.]*)\s*%?(?:\s*[-–—]\s*(\d[\d.]*))?\s*(?:%|[A-Za-z]{1,3})?\)\s*"
)
WINDOW = re.compile(r"\s*(\d\d:\d\d\s*[-–—]\s*\d\d:\d\d(?:\s+\w{1,5})?):?\s*")
OBJECT_GOES_ON = re.compile(r'\s*(?:["}\]{]|-?\d|true|false|null)')


class Line(Struct, frozen=True):
    """A record of text: its time, and everything behind it, continuation lines included."""

    number: int
    moment: Moment
    rest: str
    text: str


class Object(Struct, frozen=True):
    """A record of JSON; `moment` is what stood before it on its line, if anything did."""

    number: int
    value: dict[str, Any]
    text: str
    moment: Moment | None = None


Record = Line | Object | Metric


class Counts:
    """What became of the lines of a file."""

    def __init__(self) -> None:
        self.lines = self.records = self.skipped = 0


def records_of(lines: Iterable[tuple[int, str]], counts: Counts) -> Iterator[Record]:
    """Yield the records in the lines, in order, and count."""
    opened: _Text | _Json | None = None
    window = ""
    for number, text in lines:
        counts.lines += 1
        if opened is not None and opened.takes(text):
            if not opened.complete:
                continue
            yield from opened.close(counts)
            opened = None
            continue
        if opened is not None:
            yield from opened.close(counts)
            opened = None
        if not text.strip():
            continue
        if (named := WINDOW.fullmatch(text)) is not None:
            window = named[1]
            counts.skipped += 1
            continue
        begun = _begun(number, text, window)
        if begun is None:
            counts.skipped += text.strip() not in {"[", "]", "],"}
        elif isinstance(begun, _Text | _Json):
            opened = begun
        else:
            counts.records += len(begun)
            yield from begun
    if opened is not None:
        yield from opened.close(counts)


def _begun(number: int, text: str, window: str) -> _Text | _Json | list[Record] | None:
    """Say what a line begins, or is; None for a line that is no part of a log."""
    start = text.lstrip()[:1]
    if start in {"{", "["}:
        found = _decoded(text.strip().rstrip(","))
        if found is not None:
            return [Object(number, value, text.strip()) for value in found] or None
        head = HEAD.match(text) if start == "[" else None
        if head is None:
            return _Json(number, text) if start == "{" and not text.rstrip().endswith("}") else None
    else:
        head = HEAD.match(text)
    if head is not None and (when := moment(head[1])) is not None:
        if head[2].startswith("{") and (found := _decoded(head[2])):
            return [Object(number, value, text.strip(), when) for value in found]
        return _Text(number, when, head[2], text)
    if (pairs := LOGFMT.match(text)) is not None and (when := moment(pairs[1] or pairs[2])) is not None:
        return _Text(number, when, pairs[3], text)
    if (read := SNAPSHOT.fullmatch(text)) is not None:
        metric = _metric(read, number, window)
        return None if metric is None else [metric]
    return None


class _Text:
    """A log line that may go on in indented lines of key=value."""

    complete = False

    def __init__(self, number: int, when: Moment, rest: str, text: str) -> None:
        self._number, self._when = number, when
        self._rest, self._text = [rest], [text.strip()]
        self._characters = len(text)

    def takes(self, text: str) -> bool:
        self._characters += len(text)
        if len(self._rest) > CONTINUATIONS_MAX or self._characters > RECORD_CHARACTERS_MAX:
            return False
        if not PAIRS_ONLY.match(text) or HEAD.match(text):
            return False
        self._rest.append(text.strip())
        return True

    def close(self, counts: Counts) -> Iterator[Record]:
        counts.records += 1
        yield Line(self._number, self._when, " ".join(self._rest), " ".join([*self._text, *self._rest[1:]]))


class _Json:
    """An object over several lines: those within are further in than its first, or begin as JSON does."""

    def __init__(self, number: int, text: str) -> None:
        self._number, self._lines = number, [text]
        self._indent = len(text) - len(text.lstrip())
        self._characters = len(text)
        self.complete = False

    def takes(self, text: str) -> bool:
        indent = len(text) - len(text.lstrip())
        self._characters += len(text)
        if len(self._lines) > OBJECT_LINES_MAX or self._characters > RECORD_CHARACTERS_MAX or HEAD.match(text):
            return False
        if indent <= self._indent and not OBJECT_GOES_ON.match(text):
            return False
        self._lines.append(text)
        self.complete = indent <= self._indent and text.strip() in {"}", "},"}
        return True

    def close(self, counts: Counts) -> Iterator[Record]:
        whole = " ".join(line.strip() for line in self._lines).rstrip(",")
        found = _decoded(whole) if self.complete else None
        if found is None:
            counts.skipped += len(self._lines)
            return
        counts.records += len(found)
        for value in found:
            yield Object(self._number, value, whole)


def _decoded(text: str) -> list[dict[str, Any]] | None:
    """Return the objects in a piece of JSON: itself, an array's, or a page's `entries`; None if it is none."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    match value:
        case {"entries": [dict(), *_] as entries}:
            pass
        case dict():
            return [value]
        case list():
            entries = value
        case _:
            return None
    return [entry for entry in entries if isinstance(entry, dict)]


def _metric(read: re.Match[str], number: int, window: str) -> Metric | None:
    try:
        low = float(read[4])
        return Metric(
            name=read[1], value=float(read[2]), low=low, high=float(read[5] or read[4]), unit=read[3] or "",
            window=window, line=number,
        )  # fmt: skip
    except ValueError:
        return None
