"""Each alert rests on what is really exported, says what it means, and has its page and its cases."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, get_args

import click
import promql_parser
import pytest

from cli.main import main
from coordinator.app import Coordinator
from coordinator.app import Settings as CoordinatorSettings
from coordinator.correlation import Why
from coordinator.inbox import Useless
from coordinator.stores.memory import MemoryRunStore
from ledger.stores.memory import MemoryStore
from proxy.app import Proxy, Settings
from tests.alerts.exported import TARGET, exported, groupings, selectors, wrong
from tests.helm import charts
from tests.tracked import ROOT

FILE = ROOT / "helm/holdfast/files/alerts.yaml"
PAGES = ROOT / "docs/runbooks"
CASES = sorted((ROOT / "tests/alerts").glob("*.yaml"))
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in charts.values_of(FILE)["groups"] for rule in group["rules"]
}
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})?$")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page(alert: str) -> str:
    """Return an alert's page."""
    return (PAGES / f"{alert}.md").read_text()


def fenced(text: str, language: str) -> list[str]:
    """Return the lines of a page's blocks in a language."""
    return [line for kind, block in FENCED.findall(text) if kind == language for line in block.splitlines()]


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_asks_for_what_is_exported(alert: str) -> None:
    """Its metrics are there, by these names and with these labels."""
    assert wrong(ALERTS[alert]["expr"]) == []


def test_what_nobody_exports_is_noticed() -> None:
    """A metric that was renamed, a label that it does not have, and one that is left of nothing."""
    assert wrong("holdfast_gone_total > 0") == ["nobody exports holdfast_gone_total"]
    assert wrong('holdfast_store_up{tool="a"} == 0') == ["holdfast_store_up has no label tool"]
    assert wrong("sum by (tool) (holdfast_store_up)") == ["no metric of it has a label tool"]
    with pytest.raises(ValueError, match="unclosed"):
        wrong("sum by (tool (holdfast_store_up)")


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_says_how_bad_it_is_for_how_long_and_what_to_do(alert: str) -> None:
    """A severity that somebody is called by, a time, words, and its own page."""
    rule = ALERTS[alert]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alert}.md"


@pytest.mark.parametrize("alert", ALERTS)
def test_words_of_an_alert_name_only_labels_that_it_has(alert: str) -> None:
    """Others would be left empty, in the middle of a sentence that somebody reads at night."""
    rule = ALERTS[alert]
    kept = set.intersection(*map(set, groupings(rule["expr"]))) if list(groupings(rule["expr"])) else set(TARGET)
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert named <= kept


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_keeps_applications_apart(alert: str) -> None:
    """What is aggregated is kept by namespace and job: each application has a ledger of its own."""
    assert all({"namespace", "job"} <= labels for labels in groupings(ALERTS[alert]["expr"]))


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    """And a line in the list of them, with its severity."""
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == ALERTS.keys()
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|", (PAGES / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted((name, name, rule["labels"]["severity"]) for name, rule in ALERTS.items())


@pytest.mark.parametrize("alert", ALERTS)
def test_page_says_what_it_means_where_to_look_what_to_do_and_how_to_prevent_it(alert: str) -> None:
    """In this order, under its alert's name and severity, and short enough for the night."""
    text = page(alert)
    assert text.startswith(f"# {alert}\n\n**{ALERTS[alert]['labels']['severity']}** · ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["What it means", "Look", "Do now", "Prevent"]
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("alert", ALERTS)
def test_queries_of_a_page_ask_for_what_is_exported(alert: str) -> None:
    """One of them for the very metric that the alert is about."""
    queries = fenced(page(alert), "promql")
    asked = {selector.name for query in queries for selector in selectors(query)}
    assert {selector.name for selector in selectors(ALERTS[alert]["expr"])} & asked
    assert [one for query in queries for one in wrong(query) if "container_cpu" not in one] == []


@pytest.mark.parametrize("name", [*ALERTS, "README"])
def test_commands_of_a_page_are_commands_that_there_are(name: str) -> None:
    """With these options, whatever they are run in."""
    lines = fenced(page(name), "console")
    assert lines
    for line in lines:
        words = shlex.split(line.partition(" -- ")[2] if " -- " in line else line)
        if words[0] == "holdfast":
            parse(main, words[1:])


def parse(command: click.Command, words: list[str]) -> None:
    """Take a command line apart as click would. Raises `click.UsageError` for one that is wrong."""
    with click.Context(command) as context:
        if isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            assert found is not None, words[0]
            parse(found, words[1:])
            return
        flags = {flag for option in command.params if isinstance(option, click.Option) for flag in option.opts}
        flags |= {flag for option in command.params for flag in option.secondary_opts}
        given = {word for word in words if word.startswith("-")}
        assert given <= flags, given - flags


def starting_at_zero() -> list[str]:
    """Return the selectors of all counters whose increase an alert is about."""
    found: list[str] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.Call) and node.func.name == "increase":
            found.extend(one.prettify() for argument in node.args for one in selectors(argument.prettify()))

    for rule in ALERTS.values():
        promql_parser.walk(promql_parser.parse(rule["expr"]), visit)
    return sorted(set(found))


async def test_every_counter_that_an_alert_watches_is_there_before_its_first_event() -> None:
    """Of each value that the alert names: a counter that begins with one shows no increase, and nobody would know."""
    settings = Settings(policies=str(ROOT / "policies"), upstream="http://t", listen=("", 0), health=("", 0))
    proxy = Proxy(settings, MemoryStore())
    coordinator = Coordinator(CoordinatorSettings(listen=("127.0.0.1", 0)), MemoryRunStore(), NOBODY, NOBODY)
    families = [*proxy.metrics.registry.collect(), *coordinator.metrics.registry.collect()]
    samples = [sample for family in families for sample in family.samples if sample.value == 0]
    letters = {one.labels["reason"] for one in samples if one.name == "holdfast_dead_letters_total"}
    assert letters == {*get_args(Useless), *get_args(Why)}
    assert len(starting_at_zero()) == 6
    for written in starting_at_zero():
        (selector,) = selectors(written)
        for matcher in selector.matchers.matchers:
            for value in matcher.value.split("|"):
                assert any(one.name == selector.name and one.labels[matcher.name] == value for one in samples), written
        assert any(one.name == selector.name for one in samples), written


NOBODY: Any = None
"""Whom a coordinator that is not started asks for nothing."""


def cases(path: Path) -> list[dict[str, Any]]:
    """Return the cases of a file for promtool."""
    return list(charts.values_of(path)["tests"])


def test_every_alert_has_a_case_in_which_it_fires_and_a_near_one_in_which_nothing_does() -> None:
    """By the cases' names; a near case expects no alert at all."""
    every = [case for path in CASES for case in cases(path)]
    fires = {case["name"].partition(" fires")[0]: case for case in every if " fires" in case["name"]}
    near = {case["name"][5:].partition(",")[0]: case for case in every if case["name"].startswith("near ")}
    assert fires.keys() == near.keys() == ALERTS.keys()
    for case in near.values():
        assert all(not one["exp_samples"] and one["expr"] == EVERYTHING for one in case["promql_expr_test"])
    for alert, case in fires.items():
        assert f'alertname="{alert}"' in str(case)


EVERYTHING = 'ALERTS{alertstate="firing"}'


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_series_of_the_cases_are_exported(path: Path) -> None:
    """Under these names, with these labels and no others."""
    for case in cases(path):
        for series in case["input_series"]:
            match = SERIES.fullmatch(series["series"])
            assert match is not None, series
            labels = set(re.findall(r"(\w+)=", match[2] or ""))
            assert labels - TARGET == exported()[match[1]], series
