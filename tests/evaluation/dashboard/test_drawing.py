"""Series become a picture that says what they say."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

from evaluation.dashboard.board import Panel, Place
from evaluation.dashboard.drawing import COLOURS, LINE, SHADES, Series, picture

GRAPH = Panel("timeseries", "Calls <all>", Place(0, 1, 8, 8), unit="reqps")
STAT = Panel("stat", "Unknown", Place(0, 0, 4, 4), unit="none", colours=((0, "green"), (1, "orange"), (10, "red")))
PATH = re.compile(r'<path d="(M[^"]*)" fill="none"')


def drawn(panel: Panel, *series: Series) -> str:
    """Return the picture of one panel over ten seconds; it is well-formed."""
    svg = picture([(panel, series)], 10)
    ET.fromstring(svg)
    return svg


def heights(path: str) -> list[float]:
    """Return the places of a path's points, from above."""
    return [float(point.split()[1]) for point in re.split("[ML]", path)[1:]]


def line(name: str, *numbers: float) -> Series:
    """Return a series of one number a second."""
    return Series(name, tuple((float(at), number) for at, number in enumerate(numbers)))


def test_graph_draws_each_series_and_names_it() -> None:
    """In a colour of its own, which the legend has; words are escaped."""
    svg = drawn(GRAPH, line("executed", 1, 2), line("a & b", 3, 3))
    assert "Calls &lt;all&gt;" in svg
    assert "a &amp; b" in svg
    assert len(PATH.findall(svg)) == 2
    assert svg.count(COLOURS[0]) == svg.count(COLOURS[1]) == 2


def test_higher_number_is_higher_up() -> None:
    """And zero is at the bottom."""
    (path,) = PATH.findall(drawn(GRAPH, line("x", 0, 5, 2)))
    bottom, top, middle = heights(path)
    assert top < middle < bottom


def test_what_is_no_number_interrupts_the_line() -> None:
    """A quantile of nothing is neither zero nor the number before."""
    (path,) = PATH.findall(drawn(GRAPH, line("p99", 1, math.nan, 2)))
    assert (path.count("M"), path.count("L")) == (2, 0)


def test_stacked_series_stand_on_each_other() -> None:
    """The second's line is where both are together; one that begins later adds nothing before."""
    stacked = Panel("timeseries", "x", Place(0, 0, 8, 8), unit="reqps", stacked=True)
    first, second = PATH.findall(drawn(stacked, line("a", 1, 1, 1), Series("b", ((2.0, 1.0),))))
    assert heights(first) != heights(second)
    assert heights(first)[:2] == heights(second)[:2]
    assert heights(second)[2] < heights(first)[2]


def test_line_of_a_threshold_is_drawn_where_it_is_in_sight() -> None:
    """It does not make the rest flat where it is far away."""
    limit = Panel("timeseries", "x", Place(0, 0, 8, 8), unit="s", line=5)
    assert 'class="b"' in drawn(limit, line("a", 1, 6))
    assert 'class="b"' not in drawn(limit, line("a", 0.1, 0.2))


def test_panel_without_series_says_so() -> None:
    """A graph as well as a number."""
    assert "no data" in drawn(GRAPH)
    assert "no data" in drawn(STAT)


def test_number_is_shown_in_the_colour_of_its_step_and_in_its_word() -> None:
    """The last one counts."""
    assert f"fill:{SHADES['orange']}" in drawn(STAT, line("", 0, 4))
    assert f"fill:{SHADES['red']}" in drawn(STAT, line("", 4, 19))
    store = Panel("stat", "Store", Place(0, 0, 4, 4), unit="none", words={"1": "reached"})
    assert ">reached<" in drawn(store, line("", 1))


def test_legend_that_has_no_room_counts_what_it_leaves_out() -> None:
    """Two lines, and no more."""
    svg = drawn(GRAPH, *(line(f"a rather long name {number}", 1, 2) for number in range(12)))
    named = len(re.findall(r">a rather long name \d+<", svg))
    assert f">+{12 - named}<" in svg


def test_rows_are_below_each_other() -> None:
    """As the dashboard has them; the picture ends below the last."""
    svg = picture([(Panel("row", "Now", Place(0, 0, 24, 1)), ()), (GRAPH, ())], 10)
    assert f'0 0 1152 {9 * LINE + 10}"' in svg
