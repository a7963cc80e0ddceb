"""The report says what was measured, on what, and draws nothing else."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from evaluation.bench.environment import Environment
from evaluation.bench.figures import Case, Sample, Start
from evaluation.bench.rendering import markdown, show
from evaluation.bench.report import Report, report, tables
from evaluation.bench.workloads import QUICK

ENVIRONMENT = Environment(
    commit="abc1234+",
    taken_at="2026-11-21T03:00Z",
    cores=2,
    server_core=0,
    other_core=1,
    processor="Some Processor",
    kernel="6.1",
    python="3.11.7",
    packages={"aiohttp": "3.14.5"},
    programs={"nginx": "nginx version: nginx/1.22.1"},
    fsync_us=157.0,
)


@pytest.fixture
def found() -> Report:
    """A run of one round that had no nginx."""
    claimed_and_settled = {"claim": 1.0, "settle": 1.0}
    new, replay, paced = ("new key", 16), ("replay", 16), ("paced", 0)
    samples = [
        Sample(Case("direct", *new), 0, 4000, 0.1, 300.0, 600.0),
        Sample(Case("bare", *new), 0, 1000, 0.2, 2000.0, 4000.0, server_cpu_us=150.0, busy=0.95),
        Sample(
            Case("redis", *new),
            0,
            1000,
            0.1,
            1000.0,
            3000.0,
            90.0,
            12.0,
            0.9,
            0.25,
            {"executed": 9},
            claimed_and_settled,
        ),
        Sample(Case("redis", *replay), 0, 2000, 0.1, 500.0, 900.0, 45.0, 0.0, 0.9, 0.05, {"replayed": 2000}, {}),
        Sample(Case("direct", *paced), 0, 300, 1.2, 20_200.0, 22_000.0),
        Sample(Case("redis", *paced), 0, 300, 1.2, 20_700.0, 23_000.0, 400.0, 20.0, 0.1, 0.15, {"executed": 300}, {}),
    ]
    return report(ENVIRONMENT, QUICK, samples, [Start("redis", 0.4, 50 << 20)], {"nginx": "no nginx on this machine"})


def cells(found: Report, title: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return a table's rows by their first two cells."""
    (table,) = (table for table in tables(found) if table.title == title)
    return {row[:2]: row[2:] for row in table.rows}


def test_closed_loop_shows_medians_and_ratios_to_the_bare_proxy(found: Report) -> None:
    """Throughput, latency and CPU are shown, a replay's CPU against the bare proxy's new key; the rest are dashes."""
    rows = cells(found, "Closed loop")
    assert rows["new key, 16", "Holdfast, Redis"] == ("10,000", "1,000", "3,000", "90", "90-90", "0.60", "12", "90")
    assert rows["replay, 16", "Holdfast, Redis"][5] == "0.30"
    assert rows["new key, 16", "the tool directly"] == ("40,000", "300", "600", "-", "-", "-", "-", "-")


def test_open_loop_shows_what_is_added_to_the_tools_own(found: Report) -> None:
    """Added latency is above the direct call's; the direct call itself adds nothing to compare."""
    rows = cells(found, "Open loop, a tool of 20 ms")
    assert rows["Holdfast, Redis", "20.70"] == ("23.00", "0.50", "1.00", "400")
    assert rows["the tool directly", "20.20"] == ("22.00", "-", "-", "-")


def test_missing_system_is_named_and_not_drawn(found: Report) -> None:
    """A system that could not be measured is named with its reason and has no row."""
    (table,) = (table for table in tables(found) if table.title == "Closed loop")
    assert "nginx proxy_pass (no nginx on this machine)" in table.note
    assert not any("nginx" in cell for row in table.rows for cell in row)


def test_markdown_and_terminal_show_the_same_cells(found: Report) -> None:
    """Both forms carry every cell, the commit, the core count and every verdict."""
    written = io.StringIO()
    show(Console(file=written, width=200, highlight=False), found)
    for text in (markdown(found), written.getvalue()):
        assert "Commit abc1234+" in text
        assert "2 cores" in text
        for table in tables(found):
            assert all(cell in text for row in table.rows for cell in row)
    assert "| Holdfast, Redis | 10,000 |" in markdown(found)


def test_markdown_rows_have_as_many_cells_as_their_table_has_columns(found: Report) -> None:
    """Every row of a Markdown table is as wide as its header."""
    for block in markdown(found).split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1


def test_json_keeps_every_sample(found: Report) -> None:
    """What is written down can be read back whole."""
    assert msgspec.json.decode(msgspec.json.encode(found), type=Report) == found


def test_disturbance_by_others_is_told(found: Report) -> None:
    """The reader learns how much of the server's core went to others."""
    assert "Other processes took 15% of the server's core during the median measurement (5% to 25%)." in markdown(found)
