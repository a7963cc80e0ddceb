"""Plots as inline SVG: dots with their intervals, and stacked bars. One row for each variant, in groups by environment.

Colours, fonts and what a dark screen or paper makes of them are the page's (`page.css`): here are only places and
classes. Each plot carries its numbers as text for who does not see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from msgspec import Struct

from evaluation.report.scale import Scale, scale_for, tick_label

WIDTH = 720
LEFT, RIGHT = 96, 110
"""Space for the rows' names, and for the numbers at their ends."""
ROW, GROUP, TOP, BOTTOM = 24, 26, 8, 34


class Mark(Struct, frozen=True):
    """A number with the ends of its interval, None where there are none; `series` is its place in the legend."""

    value: float
    low: float | None = None
    high: float | None = None
    series: int = 0


class Row(Struct, frozen=True):
    """A variant in an environment: its marks, or the parts of its bar; `told` is written at its end."""

    group: str
    name: str
    marks: tuple[Mark, ...]
    told: str


class Plot(Struct, frozen=True):
    """What is drawn. `bound` is a line of the gate: where it is and what it says."""

    title: str
    axis: str
    rows: tuple[Row, ...]
    legend: tuple[str, ...] = ()
    bound: tuple[float, str] | None = None
    from_zero: bool = True
    log: bool = False
    most: float = math.inf


def dots(plot: Plot) -> str:
    """Return a plot of marks, each with its interval."""
    ends = [end for row in plot.rows for mark in row.marks for end in (mark.value, mark.low, mark.high)]
    numbers = [end for end in ends if end is not None] + ([plot.bound[0]] if plot.bound else [])
    scale = scale_for(numbers, from_zero=plot.from_zero, log=plot.log, most=plot.most)
    return _drawn(plot, scale, [_marks(row, scale) for row in plot.rows])


def stacks(plot: Plot) -> str:
    """Return a plot of bars, whose parts follow each other."""
    totals = [sum(mark.value for mark in row.marks) for row in plot.rows]
    numbers = [*totals, *([plot.bound[0]] if plot.bound else [])]
    scale = scale_for(numbers, from_zero=True, most=plot.most)
    return _drawn(plot, scale, [_parts(row, scale) for row in plot.rows])


def _drawn(plot: Plot, scale: Scale, drawn: Sequence[list[str]]) -> str:
    """Return the SVG: axis, names, what was drawn for each row, the bound."""
    places = _places(plot.rows)
    height = (places[-1][1] if places else TOP) + ROW // 2 + BOTTOM
    bottom = height - BOTTOM
    parts = [*_axis(plot, scale, bottom), *_bound(plot, scale, bottom)]
    for row, (group_y, y), inside in zip(plot.rows, places, drawn, strict=True):
        if group_y is not None:
            parts.append(f'<text class="group" x="0" y="{group_y}">{escape(row.group)}</text>')
        parts.append(f'<text class="name" x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(row.name)}</text>')
        parts.append(f'<g transform="translate(0 {y})">{"".join(inside)}</g>')
        parts.append(f'<text class="told" x="{WIDTH}" y="{y + 4}" text-anchor="end">{escape(row.told)}</text>')
    said = "; ".join(f"{row.group} {row.name}: {row.told}" for row in plot.rows)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(f"{plot.title}. {plot.axis}. {said}")}">'
        f"{''.join(parts)}</svg>"
    )


def _places(rows: Sequence[Row]) -> list[tuple[float | None, float]]:
    """Return for each row where its group's name stands, if it begins one, and where it stands itself."""
    places: list[tuple[float | None, float]] = []
    y, before = float(TOP), None
    for row in rows:
        heading = None
        if row.group != before:
            heading, y, before = y + 14, y + GROUP, row.group
        places.append((heading, y + ROW / 2))
        y += ROW
    return places


def _x(scale: Scale, number: float) -> float:
    return round(LEFT + scale.place(number) * (WIDTH - LEFT - RIGHT), 1)


def _axis(plot: Plot, scale: Scale, bottom: float) -> Iterator[str]:
    for tick in scale.ticks:
        x = _x(scale, tick)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="tick" x="{x}" y="{bottom + 14}" text-anchor="middle">{tick_label(tick)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text class="axis" x="{middle}" y="{bottom + 30}" text-anchor="middle">{escape(plot.axis)}</text>'


def _bound(plot: Plot, scale: Scale, bottom: float) -> Iterator[str]:
    if plot.bound is not None:
        at, says = plot.bound
        x = _x(scale, at)
        side, anchor = (-5, "end") if scale.place(at) > 0.6 else (5, "start")
        yield f'<line class="bound" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="bound" x="{x + side}" y="{TOP + 12}" text-anchor="{anchor}">{escape(says)}</text>'


def _marks(row: Row, scale: Scale) -> list[str]:
    """Draw the marks of a row, below each other where there are several."""
    drawn = []
    for place, mark in enumerate(row.marks):
        y = (place - (len(row.marks) - 1) / 2) * 7
        colour = f"s{mark.series}"
        if mark.low is not None and mark.high is not None:
            low, high = _x(scale, mark.low), _x(scale, mark.high)
            drawn.append(f'<line class="whisker {colour}" x1="{low}" x2="{high}" y1="{y:g}" y2="{y:g}"/>')
        drawn.append(_mark(_x(scale, mark.value), y, mark, colour))
    return drawn


def _mark(x: float, y: float, mark: Mark, colour: str) -> str:
    """Draw a dot, or an arrow for what lies beyond the axis."""
    if math.isinf(mark.value):
        return f'<path class="dot {colour}" d="M{x - 3} {y - 5:g}l8 5l-8 5z"/>'
    return f'<g transform="translate({x} {y:g})">{dot_sign(mark.series)}</g>'


def dot_sign(series: int) -> str:
    """Draw the dot of a series around the origin: each has a form of its own, for who sees no colours."""
    match series % 3:
        case 0:
            return f'<circle class="dot s{series}" r="4.5"/>'
        case 1:
            return f'<rect class="dot s{series}" x="-4" y="-4" width="8" height="8"/>'
        case _:
            return f'<path class="dot s{series}" d="M0 -6l6 6l-6 6l-6 -6z"/>'


def part_sign(series: int) -> str:
    """Draw a piece of the bars of a series around the origin."""
    return f'<rect class="part s{series}" x="-5" y="-5" width="10" height="10"/>'


def _parts(row: Row, scale: Scale) -> list[str]:
    """Draw the parts of a bar, with a gap between them."""
    drawn, reached = [], 0.0
    for mark in row.marks:
        begin, end = _x(scale, reached), _x(scale, reached + mark.value)
        reached += mark.value
        if mark.value > 0:
            width = max(end - begin - 1.5, 0.5)
            drawn.append(f'<rect class="part s{mark.series}" x="{begin}" y="-8" width="{width:.1f}" height="16"/>')
    return drawn
