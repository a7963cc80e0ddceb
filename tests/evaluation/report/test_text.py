"""The report on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evaluation.report.findings import Findings
from evaluation.report.text import heading, is_words, show


def printed(findings: Findings, width: int) -> str:
    """Return what is printed on a console that is so wide."""
    out = io.StringIO()
    show(Console(file=out, width=width, highlight=False), findings)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_report_fits_its_console(findings: Findings, width: int) -> None:
    """No line is wider, and every table is there."""
    lines = printed(findings, width).splitlines()
    assert max(map(len, lines)) <= width
    titles = [line.rstrip() for line in lines if line[:1].isdigit() and ". " in line[:5]]
    assert [title.partition(" ")[0] for title in titles if title[1] in ".bcde"] == [
        "1.", "2.", "2b.", "2c.", "3.", "3b.", "3c.", "3d.", "3e.", "4.", "5.",
    ]  # fmt: skip


def test_intervals_stand_below_their_figures_where_there_is_no_room(findings: Findings) -> None:
    """And beside them where there is."""
    wide, narrow = (printed(findings, width).partition("1. How turns ended")[2] for width in (200, 80))
    first = [next(line for line in told.splitlines() if line.startswith("staging")) for told in (wide, narrow)]
    assert ["100.00 [" in line for line in first] == [True, False]
    assert all("100.00" in line for line in first)


def test_heading_says_what_was_replayed(findings: Findings) -> None:
    """How many turns of how many users, and what the pace made of the seed's window."""
    told = heading(findings)
    assert "60 turns in staging by" in told
    assert "pace 10: what took the seed's users 90 s takes 9 s here." in told


def test_numbers_stand_to_the_right() -> None:
    """A column of dashes is one of numbers."""
    assert is_words(["staging", "none"])
    assert not is_words(["-"])
    assert not is_words(["beyond [1, beyond]"])
