"""From lines to records, and what is no record."""

from __future__ import annotations

from evaluation.triage.event import Metric
from evaluation.triage.records import OBJECT_LINES_MAX, Counts, Line, Object, Record, records_of


def read(text: str) -> tuple[list[Record], Counts]:
    """Return the records of a text, and the counts."""
    counts = Counts()
    return list(records_of(enumerate(text.splitlines(), 1), counts)), counts


def test_indented_pairs_go_on_with_the_record_above() -> None:
    """Until a blank line, or one that begins anew."""
    (first, second), counts = read(
        "2026-03-12T10:11:42Z gw AUDIT action=a\n  user_id=u\n\tstatus=201 x=1\n"
        "2026-03-12T10:11:43Z gw AUDIT action=b\n\n  z=3\n"
    )
    assert isinstance(first, Line)
    assert first.rest == "gw AUDIT action=a user_id=u status=201 x=1"
    assert isinstance(second, Line)
    assert second.rest == "gw AUDIT action=b"
    assert counts.skipped == 1


def test_object_over_several_lines_is_one_record_at_its_first_line() -> None:
    """Members may be objects and lists of several lines themselves."""
    (found,), counts = read('{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}\n')
    assert isinstance(found, Object)
    assert (found.number, found.value) == (1, {"a": {"b": [1]}})
    assert (counts.records, counts.skipped) == (1, 0)


def test_objects_of_a_list_and_of_a_page_are_records_each() -> None:
    """As an audit's page has them, or a printed list."""
    found, _ = read(
        '{"next": 2, "entries": [{"a": 1}, {"a": 2}]}\n[{"a": 3}, 4]\n[\n  {\n    "a": 5\n  },\n  {"a": 6}\n]\n'
    )
    assert [record.value["a"] for record in found if isinstance(record, Object)] == [1, 2, 3, 5, 6]


def test_object_that_is_cut_short_is_skipped_and_the_line_after_it_is_read() -> None:
    """A record that begins within it ends it; an endless one is given up."""
    (line,), counts = read('{\n  "a": 1,\n2026-03-12T10:11:42Z gw INFO x=1\n')
    assert isinstance(line, Line)
    assert counts.skipped == 2
    _, counts = read("{\n" + '  "a": 1,\n' * (OBJECT_LINES_MAX + 50))
    assert counts.records == 0
    assert counts.skipped == OBJECT_LINES_MAX + 51


def test_json_behind_a_time_keeps_that_time() -> None:
    """As `kubectl logs --timestamps` has it."""
    (found,), _ = read('2026-03-12T10:11:42Z {"event": "request"}\n')
    assert isinstance(found, Object)
    assert found.moment is not None


def test_logfmt_line_is_a_record() -> None:
    """A line of pairs that begins with its time."""
    (found,), _ = read('time="2026-03-12T10:11:42Z" level=info msg="POST /tools/x" req=r\n')
    assert isinstance(found, Line)
    assert found.rest.startswith("level=info")


def test_snapshot_lines_take_the_window_above_them() -> None:
    """Values with units, and baselines that are a range."""
    found, _ = read("10:10–10:20 UTC\n- gw.rate: 7.4% (baseline 1.1%)\n- gw.restarts: 6 (baseline 0–1)\n")
    assert found == [
        Metric(name="gw.rate", value=7.4, low=1.1, high=1.1, unit="%", window="10:10–10:20 UTC", line=2),
        Metric(name="gw.restarts", value=6, low=0, high=1, window="10:10–10:20 UTC", line=3),
    ]


def test_prose_and_tables_are_skipped_and_counted() -> None:
    """Times within a sentence make no record, nor do blank lines count."""
    text = "On Tuesday between 14:05–14:25 UTC it began.\n\n| A | 6,240 | 1.010 |\n- p95: 4.2s to 11.8s\n10:11 later\n"
    found, counts = read(text)
    assert (found, counts.skipped, counts.lines) == ([], 4, 5)
