"""What the dashboard asks, read from its file as Grafana would read it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

WINDOW_S = 10
"""What a rate is taken over: some samples of a scrape a second."""


class Place(Struct, frozen=True):
    """Where a panel is, in the dashboard's 24 columns and in rows."""

    x: int
    y: int
    w: int
    h: int


class Query(Struct, frozen=True):
    """What is asked, and what each of its series is called: `{{label}}` stands for a label's value."""

    expr: str
    legend: str = ""

    def name(self, labels: Mapping[str, str]) -> str:
        """Return what a series with these labels is called."""
        return re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), self.legend).strip()


class Panel(Struct, frozen=True):
    """A part of the dashboard: a `row` is a heading, a `stat` one number, a `timeseries` a graph.

    unit     of its numbers, as Grafana calls it.
    colours  (from, colour) in rising order: what a number is shown in.
    line     where a graph has a line; None without.
    words    what is said in place of numbers.
    """

    kind: str
    title: str
    place: Place
    queries: tuple[Query, ...] = ()
    unit: str = ""
    stacked: bool = False
    ceiling: float | None = None
    line: float | None = None
    colours: tuple[tuple[float, str], ...] = ()
    words: Mapping[str, str] = {}


def panels(board: Mapping[str, Any], tool: str, seconds: int) -> list[Panel]:
    """Return the dashboard's panels, as they are for all namespaces and jobs, one tool, and the last `seconds`."""
    return [_panel(one, tool, seconds) for one in board["panels"]]


def _panel(one: Mapping[str, Any], tool: str, seconds: int) -> Panel:
    title, place = one["title"].replace("$tool", tool), Place(**one["gridPos"])
    if one["type"] == "row":
        return Panel("row", title, place)
    defaults = one["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    steps = [(step["value"] or 0.0, step["color"]) for step in defaults.get("thresholds", {}).get("steps", [])]
    asked = [(filled(target["expr"], tool, seconds), target.get("legendFormat", "")) for target in one["targets"]]
    return Panel(
        one["type"], title, place, tuple(Query(expr, legend) for expr, legend in asked),
        defaults["unit"], custom.get("stacking", {}).get("mode") == "normal", defaults.get("max"),
        steps[-1][0] if "thresholdsStyle" in custom else None, tuple(steps),
        {value: told["text"] for mapping in defaults.get("mappings", []) for value, told in mapping["options"].items()},
    )  # fmt: skip


def filled(expr: str, tool: str, seconds: int) -> str:
    """Put what Grafana would put in place of its variables."""
    for variable, value in (
        ("$__rate_interval", f"{WINDOW_S}s"), ("$__range", f"{seconds}s"), ("$namespace", ".*"), ("$job", ".*"),
        ("$tool", tool),
    ):  # fmt: skip
        expr = expr.replace(variable, value)
    return expr


def shown(number: float, unit: str) -> str:
    """Return a number with its unit, short."""
    match unit:
        case "s" if number >= 60:
            return f"{number / 60:.3g} min"
        case "s" if 0 < number < 1:
            return f"{number * 1_000:.3g} ms"
        case "s":
            return f"{number:.3g} s"
        case "percentunit":
            return f"{number * 100:.3g} %"
        case "bytes":
            return f"{number / 1_024:.4g} KiB"
        case "reqps" | "ops":
            return f"{number:.3g}/s"
        case _:
            return f"{number:.10g}" if number < 10 and number % 1 else f"{number:,.0f}"
