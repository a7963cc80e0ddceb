"""What the application chart brings for Prometheus: alerts by the values' word, for whatever is scraped."""

from __future__ import annotations

import json
from typing import Any

import helm_python
import pytest

from tests.helm import charts

LEAST = charts.values_of(charts.APPLICATION / "ci/redis-values.yaml")
FILE = charts.values_of(charts.APPLICATION / "files/alerts.yaml")


def rules(**alerts: Any) -> dict[str, dict[str, Any]]:
    """Return the alerts that these values render, by name."""
    objects = charts.render(charts.APPLICATION, {**LEAST, "alerts": {"enabled": True, **alerts}})
    groups = charts.only(objects, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_alerts_are_those_of_the_plain_file() -> None:
    """Word by word, where the values say nothing else."""
    assert charts.only(
        charts.render(charts.APPLICATION, {**LEAST, "alerts": {"enabled": True}}), "PrometheusRule"
    )["spec"] == {"groups": FILE["groups"]}  # fmt: skip


def test_alerts_monitor_and_dashboard_are_made_on_demand_only() -> None:
    """The first two's kinds are the operator's: a cluster without it would refuse the whole release."""
    objects = charts.render(charts.APPLICATION, LEAST)
    assert not {one["kind"] for one in objects} & {"PrometheusRule", "PodMonitor"}
    assert [one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"] == ["demo-holdfast-policies"]


def test_dashboard_is_the_plain_file_but_for_where_the_pages_are() -> None:
    """In a ConfigMap that Grafana's sidecar finds by its label."""
    values = {
        "dashboard": {"enabled": True, "labels": {"team": "agents"}, "annotations": {"grafana_folder": "Agents"}},
        "alerts": {"runbooks": "https://git.example/runbooks/"},
    }
    objects = charts.render(charts.APPLICATION, {**LEAST, **values})
    (found,) = [one for one in objects if "holdfast.json" in one.get("data", {})]
    assert {"grafana_dashboard": "1", "team": "agents"}.items() <= found["metadata"]["labels"].items()
    assert found["metadata"]["annotations"] == {"grafana_folder": "Agents"}
    board = json.loads(found["data"]["holdfast.json"])
    (pages,) = [one for one in board["templating"]["list"] if one["name"] == "runbooks"]
    assert pages["query"] == pages["current"]["value"] == "https://git.example/runbooks"
    plain = (charts.APPLICATION / "files/dashboard.json").read_text()
    assert board == json.loads(plain.replace('"docs/runbooks"', '"https://git.example/runbooks"'))


def test_values_say_severity_labels_pages_and_what_is_left_out() -> None:
    """Of the alert that they name, and of no other."""
    found = rules(
        severity={"HoldfastDeadLetters": "info"}, alertLabels={"team": "agents", "severity": "none"},
        runbooks="https://git.example/runbooks/", disabled=["HoldfastEventLoopLag"],
    )  # fmt: skip
    every = {rule["alert"]: rule for group in FILE["groups"] for rule in group["rules"]}
    assert found.keys() == every.keys() - {"HoldfastEventLoopLag"}
    assert found["HoldfastDeadLetters"]["labels"] == {"severity": "info", "team": "agents"}
    assert found["HoldfastClaimsLost"]["labels"] == {"severity": "critical", "team": "agents"}
    for name, rule in found.items():
        assert rule["annotations"]["runbook_url"] == f"https://git.example/runbooks/{name}.md"
        assert rule["expr"] == every[name]["expr"]


def test_group_whose_alerts_are_all_left_out_is_left_out() -> None:
    """An empty group is no error to Prometheus, and a riddle to people."""
    (group,) = [one for one in FILE["groups"] if one["name"] == "holdfast-coordinator"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(rules()) - len(rules(disabled=names)) == len(names)


@pytest.mark.parametrize("over", [{"severity": {"HoldfastDeadLetter": "info"}}, {"disabled": ["HoldfastDeadLetter"]}])
def test_alert_that_nobody_has_fails_the_render(over: dict[str, Any]) -> None:
    """A misspelt name would leave the alert as it is, unnoticed."""
    values = {**LEAST, "alerts": {"enabled": True, **over}}
    with pytest.raises(helm_python.HelmError, match=r"there is no HoldfastDeadLetter; there are Holdfast"):
        charts.render(charts.APPLICATION, values)


def test_notes_say_whether_anybody_is_alerted() -> None:
    """And where the pages are."""

    def notes(**alerts: Any) -> str:
        values = {**LEAST, "alerts": alerts}
        return charts.chart(charts.APPLICATION).render(values, name="demo")["holdfast/templates/NOTES.txt"]

    assert "Nobody is alerted" in notes()
    assert "Alerts lead to https://git.example/runbooks" in notes(enabled=True, runbooks="https://git.example/runbooks")


def test_monitor_scrapes_both_containers_apart() -> None:
    """One job for both, so alerts tell them apart by `container`; each endpoint is a port that its container has."""
    objects = charts.render(charts.APPLICATION, {**LEAST, "podMonitor": {"enabled": True}})
    endpoints = charts.only(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    pod = charts.pod_of(charts.only(objects, "Deployment"))
    ports = {
        port["name"]: name for name in ("holdfast", "coordinator") for port in charts.container_of(pod, name)["ports"]
    }
    assert [ports[one["port"]] for one in endpoints] == ["holdfast", "coordinator"]
    assert {one["path"] for one in endpoints} == {"/metrics"}
