"""Prometheus' own tool has the last word on what alerts do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.alerts.test_dashboard import PANELS, query
from tests.helm import charts
from tests.tracked import ROOT

pytestmark = pytest.mark.system

ALERTS = ROOT / "helm/holdfast/files/alerts.yaml"
CASES = sorted((ROOT / "tests/alerts").glob("*.yaml"))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it; skips the test where a machine has none."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("there is no promtool: Debian's package prometheus brings it")
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_alerts_fire_in_their_cases_and_not_near_them(path: Path) -> None:
    """By series as they are scraped, over time."""
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alert_that_is_gone_fails_its_case(tmp_path: Path) -> None:
    """The cases are able to fail."""
    rules = charts.values_of(ALERTS)
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] != "HoldfastDeadLetters"]
    (tmp_path / "alerts.json").write_text(json.dumps(rules))
    case = charts.values_of(ROOT / "tests/alerts/coordinator.yaml")
    (tmp_path / "case.json").write_text(json.dumps({**case, "rule_files": ["alerts.json"]}))
    done = promtool("test", "rules", tmp_path / "case.json")
    assert done.returncode == 1
    assert "HoldfastDeadLetters" in done.stdout + done.stderr


def test_plain_file_and_what_the_chart_makes_of_it_are_rules(tmp_path: Path) -> None:
    """By `promtool check rules`, which reads the templates of the words as well."""
    assert promtool("check", "rules", ALERTS).returncode == 0
    values = charts.values_of(charts.APPLICATION / "ci/everything-values.yaml")
    rendered = charts.only(charts.render(charts.APPLICATION, values), "PrometheusRule")
    (tmp_path / "rendered.json").write_text(json.dumps(rendered["spec"]))
    done = promtool("check", "rules", tmp_path / "rendered.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 rules found" in done.stdout


def test_queries_of_the_dashboard_are_queries(tmp_path: Path) -> None:
    """By Prometheus' own parser, which also knows whether a rate is taken of a range."""
    expressions = [query(target["expr"]) for panel in PANELS for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", tmp_path / "rules.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout
