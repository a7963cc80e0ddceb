"""The dashboard's file is read as Grafana would read it."""

from __future__ import annotations

import json

import pytest

from evaluation.dashboard.__main__ import BOARD
from evaluation.dashboard.board import Place, Query, filled, panels, shown

EVERYTHING = panels(json.loads(BOARD.read_text()), "send_email", 120)
PANELS = {panel.title: panel for panel in EVERYTHING if panel.kind != "row"}


def test_every_query_is_filled_in() -> None:
    """Nothing is left for Grafana to put in; the tool is the one that was asked for."""
    asked = [query.expr for panel in PANELS.values() for query in panel.queries]
    assert asked
    assert not [expr for expr in asked if "$" in expr]
    assert "Tool: send_email" in [panel.title for panel in EVERYTHING]
    assert 'tool=~"send_email"' in PANELS["Calls, by outcome"].queries[0].expr


def test_graph_has_what_it_is_drawn_by() -> None:
    """Place, unit, what is stacked, where it ends, and its line."""
    share = PANELS["Share of duplicates"]
    assert (share.kind, share.unit, share.stacked, share.ceiling, share.line) == (
        "timeseries", "percentunit", False, 1, 0.5,
    )  # fmt: skip
    assert share.place == Place(16, 6, 8, 8)
    assert PANELS["By how"].stacked
    assert PANELS["By how"].line is None


def test_stat_has_its_colours_and_words() -> None:
    """As rising steps; a number may have a word of its own."""
    assert PANELS["Store"].words == {"0": "away", "1": "reached"}
    assert PANELS["Store"].colours == ((0.0, "red"), (1, "green"))


def test_series_is_called_by_its_labels() -> None:
    """A label that it does not have is nothing."""
    assert Query("up", "{{tool}} p{{quantile}}").name({"tool": "act"}) == "act p"
    assert Query("up").name({"tool": "act"}) == ""


def test_variables_are_put_in() -> None:
    """Longer names before those that they begin with."""
    expr = 'sum(increase(x{job=~"$job", tool=~"$tool"}[$__range])) + rate(y[$__rate_interval])'
    assert filled(expr, "act", 60) == 'sum(increase(x{job=~".*", tool=~"act"}[60s])) + rate(y[10s])'


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"), (1.5, "s", "1.5 s"), (90, "s", "1.5 min"), (0, "s", "0 s"),
        (0.25, "percentunit", "25 %"), (2048, "bytes", "2 KiB"), (0.5, "reqps", "0.5/s"),
        (1234, "none", "1,234"), (0.5, "none", "0.5"),
    ],
)  # fmt: skip
def test_number_is_shown_short_and_with_its_unit(number: float, unit: str, text: str) -> None:
    """Milliseconds and minutes where they read better."""
    assert shown(number, unit) == text
