"""Panels as one SVG, laid out as the dashboard is. Pure: series in, text out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from msgspec import Struct

from evaluation.dashboard.board import Panel, shown
from evaluation.report.scale import Scale, scale_for

COLUMN, LINE = 48, 25
"""Pixels of one of the 24 columns, and of a row."""
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 24, 52
"""Around a graph: for its numbers, its title, and its legend of two lines."""
LETTER = 5.7
COLOURS = ("#3274d9", "#ff780a", "#37872d", "#e02f44", "#8f3bb8", "#b58900", "#00838f", "#d6568c", "#6b705c", "#7f8fa9")
SHADES = {"green": "#37872d", "orange": "#e0750a", "red": "#e02f44", "text": "#24292e"}
STYLE = (
    "text{font:11px sans-serif;fill:#24292e}.t{font-weight:600;font-size:12px}.r{font-weight:700;font-size:15px}"
    ".n{font-size:30px;text-anchor:middle;font-weight:600}.m{text-anchor:middle}.e{text-anchor:end;font-size:10px}"
    ".l{font-size:10px}.g{stroke:#e4e7eb}.f{fill:none;stroke:#c3c9d0}.b{stroke:#e02f44;stroke-dasharray:4 3}"
)


class Series(Struct, frozen=True):
    """What one line of a graph is called, and its points: (seconds from the beginning, number)."""

    name: str
    points: tuple[tuple[float, float], ...]


def picture(drawn: Sequence[tuple[Panel, Sequence[Series]]], seconds: float) -> str:
    """Return an SVG of panels with what their queries found over `seconds`; of a stat the last number is shown."""
    height = max(panel.place.y + panel.place.h for panel, _ in drawn) * LINE + 10
    parts = [part for panel, series in drawn for part in _panel(panel, series, seconds)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN} {height}" width="{24 * COLUMN}">'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, series: Sequence[Series], seconds: float) -> Iterator[str]:
    x, y = panel.place.x * COLUMN, panel.place.y * LINE
    match panel.kind:
        case "row":
            yield f'<text class="r" x="8" y="{y + 18}">{escape(panel.title)}</text>'
        case "stat":
            yield from _stat(panel, series, x + panel.place.w * COLUMN // 2, y)
        case _:
            yield from _graph(panel, series, seconds)


def _stat(panel: Panel, series: Sequence[Series], middle: int, y: int) -> Iterator[str]:
    yield f'<text class="m" x="{middle}" y="{y + 20}">{escape(panel.title)}</text>'
    if not series:
        yield f'<text class="m" x="{middle}" y="{y + 60}">no data</text>'
        return
    number = series[0].points[-1][1]
    colour = next((name for begin, name in reversed(panel.colours) if number >= begin), "text")
    told = panel.words.get(f"{number:g}") or shown(round(number), panel.unit)
    yield f'<text class="n" x="{middle}" y="{y + 64}" style="fill:{SHADES[colour]}">{escape(told)}</text>'


def _graph(panel: Panel, series: Sequence[Series], seconds: float) -> Iterator[str]:
    place = panel.place
    left, top = place.x * COLUMN + LEFT, place.y * LINE + TOP
    wide, high = place.w * COLUMN - LEFT - RIGHT, place.h * LINE - TOP - BOTTOM
    lines = list(_stacked(series)) if panel.stacked else [(one, None) for one in series]
    numbers = [number for one, _ in lines for _, number in one.points]
    scale = scale_for([*numbers, *([panel.ceiling] if panel.ceiling else [])], from_zero=True)
    yield f'<text class="t" x="{left}" y="{top - 8}">{escape(panel.title)}</text>'
    for tick in scale.ticks:
        at = top + high * (1 - scale.place(tick))
        yield f'<path class="g" d="M{left} {at:.0f}h{wide}"/>'
        yield f'<text class="e" x="{left - 5}" y="{at + 3:.0f}">{shown(tick, panel.unit)}</text>'
    yield f'<rect class="f" x="{left}" y="{top}" width="{wide}" height="{high}"/>'
    if panel.line is not None and panel.line <= scale.high:
        yield f'<path class="b" d="M{left} {top + high * (1 - scale.place(panel.line)):.0f}h{wide}"/>'

    def path(points: Sequence[tuple[float, float]]) -> str:
        return "".join(_steps(points, scale, left, top, wide / seconds, high))

    for number, (one, below) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        if below is not None:
            area = path(one.points) + path(list(reversed(below.points))).replace("M", "L", 1) + "z"
            yield f'<path d="{area}" fill="{colour}" fill-opacity=".3"/>'
        yield f'<path d="{path(one.points)}" fill="none" stroke="{colour}" stroke-width="1.2"/>'
    if not series:
        yield f'<text class="m" x="{left + wide // 2}" y="{top + high // 2}">no data</text>'
    yield from _legend([one.name for one in series], left, top + high + 14, wide)


def _steps(
    points: Sequence[tuple[float, float]], scale: Scale, left: int, top: int, second: float, high: int
) -> Iterator[str]:
    """Yield the commands of a path; what is no number interrupts it."""
    command = "M"
    for at, number in points:
        if math.isfinite(number):
            yield f"{command}{left + at * second:.0f} {top + high * (1 - scale.place(number)):.0f}"
        command = "L" if math.isfinite(number) else "M"


def _stacked(series: Sequence[Series]) -> Iterator[tuple[Series, Series]]:
    """Yield each series on top of those before it, and what it stands on; where one has no number it adds nothing."""
    times = sorted({at for one in series for at, _ in one.points})
    below = Series("", tuple((at, 0.0) for at in times))
    for one in series:
        own = {at: number for at, number in one.points if math.isfinite(number)}
        upon = Series(one.name, tuple((at, number + own.get(at, 0.0)) for at, number in below.points))
        yield upon, below
        below = upon


def _legend(names: Sequence[str], left: int, y: int, wide: int) -> Iterator[str]:
    """Yield names with their colours, on two lines at the most; what has no room is counted."""
    x, line = 0.0, 0
    for number, name in enumerate(names):
        needs = 16 + LETTER * len(name)
        if x and x + needs > wide:
            x, line = 0.0, line + 1
        if line > 1 or (line == 1 and x + needs > wide - 40 and number + 1 < len(names)):
            yield f'<text class="l" x="{left + wide - 30}" y="{y + 13}">+{len(names) - number}</text>'
            return
        at, down = left + x, y + 13 * line
        yield f'<rect x="{at:.0f}" y="{down - 7}" width="8" height="8" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield f'<text class="l" x="{at + 11:.0f}" y="{down}">{escape(name)}</text>'
        x += needs
