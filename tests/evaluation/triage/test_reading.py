"""Files to events: places, times, and dates from what stands around a line."""

from __future__ import annotations

import gzip
from pathlib import Path

from evaluation.triage.reading import Read, read_files
from evaluation.triage.spill import Spill

CLOCK = "10:11:40.332 poller INFO run_status t/r = requires_action\n"
DATED = "2026-03-12T10:11:42.018Z gw AUDIT action=a audit_id=x http_status=201\n"


def read(tmp_path: Path, *texts: str) -> tuple[Read, list[tuple[int, int, int | None]]]:
    """Return what was read of files with these texts, and each event's file, line and time."""
    names = []
    for number, text in enumerate(texts):
        names.append(str(tmp_path / f"{number}.log"))
        Path(names[-1]).write_text(text)
    with Spill(1 << 24) as spill:
        found = read_files(names, spill)
        return found, spill.run("SELECT file, line, at FROM event ORDER BY file, line").fetchall()


def test_time_of_day_takes_its_date_from_the_file(tmp_path: Path) -> None:
    """From a line before it or after it; the file counts how often."""
    found, events = read(tmp_path, CLOCK + DATED + CLOCK)
    first, dated, last = (at for _, _, at in events)
    assert first == last
    assert dated is not None
    assert first is not None
    assert dated - first == 1_686
    assert found.files[0].dates_from_context == 2
    assert not found.files[0].undated


def test_file_without_any_date_takes_that_of_the_others(tmp_path: Path) -> None:
    """Where they are of one day, and says so."""
    found, events = read(tmp_path, CLOCK, DATED)
    assert events[1][2] is not None
    assert events[0][2] == events[1][2] - 1_686
    assert found.files[0].undated


def test_file_without_any_date_has_no_times_where_the_others_have_several_days(tmp_path: Path) -> None:
    """Nothing is guessed at."""
    _, events = read(tmp_path, CLOCK, DATED + DATED.replace("03-12", "03-15"))
    assert events[0][2] is None


def test_broken_gzip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """What came before the break counts, and the break is told."""
    lines = "".join(DATED.replace("=x", f"=x{number:05}") for number in range(5_000))
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(lines.encode())[:-30])
    with Spill(1 << 24) as spill:
        found = read_files([str(file)], spill)
    assert found.files[0].broken
    assert 0 < found.files[0].events <= 5_000
