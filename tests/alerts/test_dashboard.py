"""The dashboard shows what is really exported, in units that fit, with a word on each panel and a way to the pages."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from tests.alerts.exported import TARGET, exported, groupings, selectors, wrong
from tests.alerts.test_alerts import ALERTS
from tests.tracked import ROOT

FILE = ROOT / "helm/holdfast/files/dashboard.json"
BOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

NOT_SHOWN = {
    "holdfast_policy_reloads_total": "the set in force and what was rejected are shown as states",
    "holdfast_coordinator_store_operations_total": "a figure for the bench, which divides it by turns",
}
"""Metrics that are for somebody else's eyes."""


def titled(panel: dict[str, Any]) -> str:
    """Name a panel, where two rows have one of a name."""
    return f"{panel['id']}-{panel['title']}"


every_panel = pytest.mark.parametrize("panel", PANELS, ids=titled)


def query(expr: str) -> str:
    """Put what Grafana would put in place of its variables."""
    return expr.replace("$__rate_interval", "5m").replace("$__range", "3h")


@every_panel
def test_panel_asks_for_what_is_exported(panel: dict[str, Any]) -> None:
    """Metrics and labels; and each of its queries heeds the namespace and the job that were chosen."""
    for target in panel["targets"]:
        assert wrong(query(target["expr"])) == []
        for selector in selectors(query(target["expr"])):
            matchers = {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}
            assert {("namespace", "$namespace"), ("job", "$job")} <= matchers


@every_panel
def test_panel_says_what_it_shows_and_where_its_alerts_lead(panel: dict[str, Any]) -> None:
    """A description; pages of alerts that there are; and the data source that was chosen."""
    assert panel["description"].endswith(".")
    assert panel["datasource"] == SOURCE
    assert all(target["datasource"] == SOURCE for target in panel["targets"])
    for link in panel["links"]:
        assert link["title"] in ALERTS
        assert link["url"] == f"${{runbooks}}/{link['title']}.md"


@every_panel
def test_unit_of_a_panel_is_that_of_its_queries(panel: dict[str, Any]) -> None:
    """Seconds, bytes, things a second, a share, or a number of things."""
    units = {unit_of(target["expr"]) for target in panel["targets"]} - {"share on the right"}
    shown = panel["fieldConfig"]["defaults"]["unit"]
    assert units == {"/s" if shown in {"reqps", "ops"} else shown}


def unit_of(expr: str) -> str:
    """Return what a query of ours comes out as."""
    if " / " in expr:
        return "share on the right" if "queue_limit" in expr else "percentunit"
    if re.search(r"_seconds(_bucket)?\{", expr):
        return "s"
    if "_bytes{" in expr:
        return "bytes"
    return "/s" if "rate(" in expr else "none"


@every_panel
def test_legend_names_only_labels_that_its_series_have(panel: dict[str, Any]) -> None:
    """And tells the series of a panel apart."""
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
        kept = list(groupings(query(target["expr"])))
        assert named <= (set.intersection(*map(set, kept)) if kept else set(TARGET))
    legends = [target.get("legendFormat") for target in panel["targets"]]
    assert len(set(legends)) == len(legends)


def test_every_metric_is_shown_or_said_why_not() -> None:
    """What nobody looks at is not worth its series."""
    asked = {
        selector.name for panel in PANELS for one in panel["targets"] for selector in selectors(query(one["expr"]))
    }
    base = {re.sub(r"_(bucket|sum|count|created)$", "", name or "") for name in asked}
    known = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exported()}
    known -= {name.removesuffix("_total") for name in known if name.endswith("_total")}
    assert known - base == NOT_SHOWN.keys()


def test_every_alert_has_a_panel() -> None:
    """From which one comes to its page."""
    assert {link["title"] for panel in PANELS for link in panel["links"]} == ALERTS.keys()


def test_variables_that_are_used_are_those_that_there_are() -> None:
    """Beside Grafana's own."""
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD["panels"]))) - {"__rate_interval", "__range"}
    assert used == {variable["name"] for variable in BOARD["templating"]["list"]}


def test_panels_stand_side_by_side() -> None:
    """On 24 columns, none over another, each with a number of its own."""
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    for one, other in itertools.combinations([panel["gridPos"] for panel in BOARD["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in BOARD["panels"])


def test_alerts_are_drawn_into_every_graph() -> None:
    """Those of ours that fire, of what was chosen."""
    (note,) = BOARD["annotations"]["list"]
    (selector,) = selectors(note["expr"])
    matchers = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
    assert selector.name == "ALERTS"
    assert matchers == {
        "alertname": "Holdfast.*", "alertstate": "firing", "namespace": "$namespace", "job": "$job",
    }  # fmt: skip
