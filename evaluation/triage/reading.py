"""Files to events: each record is read by whoever knows its kind, given its place and its time, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from typing import BinaryIO

from msgspec import Struct

from evaluation.triage.event import Event, Metric
from evaluation.triage.foreign import from_line, from_object
from evaluation.triage.lines import Unreadable, lines_of, open_file
from evaluation.triage.moments import DAY_MS, Calendar, Moment, moment, nearest
from evaluation.triage.ours import COORDINATOR, PROXY, from_audit, from_coordinator, from_proxy, is_audit
from evaluation.triage.records import Counts, Line, Object, Record, records_of
from evaluation.triage.spill import Spill

METRICS_MAX = 500
"""Lines of metric snapshots that are kept: a snapshot is for people, and not a time series."""

STAMPS = ("ts", "time", "timestamp", "@timestamp")


class FileRead(Struct):
    """What was found in one file. `undated` says whether its lines have a time of day and no date anywhere."""

    name: str
    lines: int = 0
    records: int = 0
    events: int = 0
    metrics: int = 0
    skipped: int = 0
    dates_from_context: int = 0
    without_zone: int = 0
    undated: bool = False
    broken: str = ""


class Read(Struct):
    """What was read in all; the events themselves are in the spill."""

    files: list[FileRead]
    metrics: list[Metric]


def read_files(names: Sequence[str], spill: Spill, advance: Callable[[int], None] = lambda _: None) -> Read:
    """Read all files into the spill, which is complete afterwards. Raises `OSError` and `SpillFull`."""
    read = Read([], [])
    for number, name in enumerate(names):
        file = open_file(name)
        with nullcontext() if name == "-" else closing(file):
            read.files.append(_read_file(number, name, file, spill, read.metrics, advance))
    spill.complete()
    _date_the_undated(read, spill)
    return read


def _read_file(
    number: int, name: str, file: BinaryIO, spill: Spill, metrics: list[Metric], advance: Callable[[int], None]
) -> FileRead:
    found, counts, calendar = FileRead(name), Counts(), Calendar()
    try:
        for record in records_of(lines_of(file, advance), counts):
            if isinstance(record, Metric):
                found.metrics += 1
                if len(metrics) < METRICS_MAX:
                    metrics.append(_at_file(record, number))
                continue
            when = _when(record)
            if when is not None:
                at = calendar.place(when)
                if calendar.shift_ms is not None:
                    spill.flush()
                    spill.run("UPDATE event SET at = at + ? WHERE file = ?", calendar.shift_ms, number)
                    calendar.shift_ms = None
            event = event_of(record)
            if event is None:
                continue
            event.file, event.line = number, record.number
            event.at = None if when is None else at
            spill.add(event)
            found.events += 1
    except Unreadable as error:
        found.broken = str(error)
    found.lines, found.records, found.skipped = counts.lines, counts.records, counts.skipped
    found.without_zone, found.dates_from_context = calendar.zoneless, calendar.placed_without_date
    found.undated = calendar.provisional and calendar.placed_without_date > 0
    return found


def _at_file(metric: Metric, number: int) -> Metric:
    from msgspec.structs import replace

    return replace(metric, file=number)


def _when(record: Line | Object) -> Moment | None:
    if isinstance(record, Line):
        return record.moment
    own = next((when for name in STAMPS if (when := moment(record.value.get(name))) is not None), None)
    return own or record.moment


def event_of(record: Record) -> Event | None:
    """Return what a record tells, by whoever knows its format; None for one that tells nothing about a call."""
    match record:
        case Line():
            return from_line(record)
        case Object(value={"service": service} as value) if service == PROXY:
            return from_proxy(value, record.text)
        case Object(value={"service": service} as value) if service == COORDINATOR:
            return from_coordinator(value, record.text)
        case Object(value=value) if is_audit(value):
            return from_audit(value, record.text)
        case Object():
            return from_object(record)
        case _:
            return None


def _date_the_undated(read: Read, spill: Spill) -> None:
    """Give files with times of day alone the date of the other files, if these are all of one day; else no time."""
    undated = [number for number, file in enumerate(read.files) if file.undated]
    if not undated:
        return
    listed = ", ".join(map(str, undated))  # our own numbers
    dated = spill.run(f"SELECT min(at), max(at) FROM event WHERE file NOT IN ({listed})").fetchone()  # noqa: S608
    for number in undated:
        first = spill.value("SELECT min(at) FROM event WHERE file = ?", number)
        if dated[0] is None or first is None or dated[1] - dated[0] > DAY_MS / 2:
            spill.run("UPDATE event SET at = NULL WHERE file = ?", number)
            continue
        shift = nearest(first, (dated[0] + dated[1]) // 2) - first
        spill.run("UPDATE event SET at = at + ? WHERE file = ?", shift, number)
