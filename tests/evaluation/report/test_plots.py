"""Plots show the numbers that they are given, in their places, and tell them to who cannot see."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree as ET

from evaluation.report.plots import LEFT, RIGHT, WIDTH, Mark, Plot, Row, dots, stacks

SPACE = WIDTH - LEFT - RIGHT


def rows(*marks: tuple[Mark, ...]) -> tuple[Row, ...]:
    """Return a row for each, in one group."""
    return tuple(Row("staging", f"V{place}", parts, f"told {place}") for place, parts in enumerate(marks))


def drawn(svg: str, name: str, kind: str) -> list[ET.Element]:
    """Return the elements of a name whose classes have this one."""
    return [one for one in ET.fromstring(svg).iter(name) if kind in one.get("class", "").split()]


def x_of(element: ET.Element) -> float:
    """Return where a line stands, or a bar begins."""
    return float(element.get("x1") or element.get("x") or "nan")


def test_mark_stands_where_its_number_is() -> None:
    """With its interval from end to end; on an axis from 0 to 10."""
    svg = dots(Plot("Title", "axis", rows((Mark(5, 2, 10),), (Mark(0),))))
    (whisker,) = drawn(svg, "line", "whisker")
    assert (x_of(whisker), float(whisker.get("x2", "nan"))) == (LEFT + 0.2 * SPACE, LEFT + SPACE)
    assert f'<g transform="translate({LEFT + 0.5 * SPACE} 0)"><circle' in svg
    assert f'<g transform="translate({float(LEFT)} 0)"><circle' in svg


def test_series_have_forms_of_their_own() -> None:
    """A circle, a square, a diamond."""
    svg = dots(Plot("Title", "axis", rows((Mark(1), Mark(2, series=1), Mark(3, series=2)))))
    assert [len(drawn(svg, name, "dot")) for name in ("circle", "rect", "path")] == [1, 1, 1]


def test_what_is_beyond_is_an_arrow_at_the_end() -> None:
    """Not a dot at some number."""
    svg = dots(Plot("Title", "axis", rows((Mark(math.inf, 3, math.inf),), (Mark(4),))))
    assert len(drawn(svg, "circle", "dot")) == 1
    (arrow,) = drawn(svg, "path", "dot")
    assert arrow.get("d", "").startswith(f"M{LEFT + SPACE - 3}")


def test_parts_of_a_bar_follow_each_other() -> None:
    """Each as long as its number; what is 0 is not drawn."""
    svg = stacks(Plot("Title", "axis", rows((Mark(2), Mark(0, series=1), Mark(6, series=2)), (Mark(10),))))
    first, second, other = drawn(svg, "rect", "part")
    assert (x_of(first), x_of(second), x_of(other)) == (LEFT, LEFT + 0.2 * SPACE, LEFT)
    widths = [float(one.get("width", "nan")) for one in (first, second, other)]
    assert [round((width + 1.5) / SPACE, 2) for width in widths] == [0.2, 0.6, 1.0]
    assert ["s2" in one.get("class", "") for one in (first, second, other)] == [False, True, False]


def test_bound_of_the_gate_is_drawn_and_within_the_axis() -> None:
    """Also where all numbers are far from it."""
    svg = dots(Plot("Title", "axis", rows((Mark(1),)), bound=(50, "gate: at most 50")))
    (line,) = drawn(svg, "line", "bound")
    assert x_of(line) == LEFT + SPACE
    assert "gate: at most 50" in svg


def test_plot_tells_its_numbers_as_text() -> None:
    """Title, axis, and each row with its group; whatever is written in a name stays a name."""
    svg = dots(Plot("A & B", "seconds", (Row("pre-prod", "<b>", (Mark(1),), "1.00"),)))
    told = ET.fromstring(svg).get("aria-label")
    assert told == "A & B. seconds. pre-prod <b>: 1.00"
    assert ET.fromstring(svg).get("role") == "img"


def test_group_is_named_once() -> None:
    """Above its first row; rows do not lie on each other."""
    svg = dots(Plot("T", "a", (*rows((Mark(1),), (Mark(2),)), Row("pre-prod", "A", (Mark(3),), "3"))))
    assert [one.text for one in drawn(svg, "text", "group")] == ["staging", "pre-prod"]
    heights = [float(one.get("y", "nan")) for one in drawn(svg, "text", "name")]
    assert all(later - earlier >= 20 for earlier, later in pairwise(heights))


def test_plot_without_rows_is_a_plot() -> None:
    """Of nothing."""
    assert ET.fromstring(dots(Plot("T", "a", ()))).tag == "svg"
    assert ET.fromstring(stacks(Plot("T", "a", ()))).tag == "svg"
