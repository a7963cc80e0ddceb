"""What the documentation says of tests, metrics, log lines and flags is so."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from typing import get_args

import click
import pytest
from prometheus_client import Counter, Gauge, Histogram, Metric

from cli.coordinator import coordinator
from cli.proxy import proxy
from coordinator import metrics as coordinator_metrics
from proxy.answer import Outcome
from proxy.log import RequestLine
from proxy.metrics import Metrics
from proxy.tally import Distributions, Tallies
from tests.test_faults import PROMISED
from tests.tracked import ROOT, sources

GUARANTEES = (ROOT / "docs/guarantees.md").read_text()
METRICS = (ROOT / "docs/metrics.md").read_text()
COORDINATOR = (ROOT / "docs/coordinator.md").read_text()
README = (ROOT / "README.md").read_text()

NAMED_TEST = re.compile(r"\[`(tests/[\w/]+\.py)::(\w+)`\]\(\.\./([\w/]+\.py)\)")
FAULT_ROW = re.compile(r"^\| (\d+) \| .*$", re.MULTILINE)
METRIC_ROW = re.compile(r"^\| `(holdfast_\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


@functools.cache
def functions(path: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the tests of a file by their names."""
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def faults_of(path: str, name: str) -> set[int]:
    """Return the fault numbers that a test is marked with, by itself or by its file."""
    module = ast.parse((ROOT / path).read_text())
    whole_file = [node for node in module.body if isinstance(node, ast.Assign)]
    return {number for node in (*whole_file, functions(path)[name]) for number in marks(node)}


def marks(node: ast.AST) -> Iterator[int]:
    """Yield the fault numbers of the marks within a part of a test file."""
    for within in ast.walk(node):
        match within:
            case ast.Call(func=ast.Attribute(attr="fault", value=ast.Attribute(attr="mark")), args=arguments):
                yield from (int(ast.literal_eval(argument)) for argument in arguments)
            case _:
                pass


def first_cells(heading: str) -> list[str]:
    """Return the code words in the first column of the table below a heading of docs/metrics.md."""
    _, _, below = METRICS.partition(f"### {heading}\n")
    rows = [line.split("|")[1] for line in below.partition("\n#")[0].splitlines() if line.startswith("| `")]
    return [word for cell in rows for word in CODE.findall(cell)]


@pytest.mark.parametrize(("path", "name", "link"), sorted(set(NAMED_TEST.findall(GUARANTEES))))
def test_test_that_a_promise_names_exists(path: str, name: str, link: str) -> None:
    """Each is a function of the file that is named, and the link leads to that file."""
    assert link == path
    assert name in functions(path)


def test_no_test_is_named_without_its_link() -> None:
    """Whatever looks like a test's name has the form that is checked."""
    assert len(re.findall(r"\.py::", GUARANTEES)) == len(NAMED_TEST.findall(GUARANTEES))


def test_every_promised_fault_has_its_row() -> None:
    """The table says of each what callers are told and what the tool sees."""
    assert not PROMISED - {int(number) for number in FAULT_ROW.findall(GUARANTEES)}


@pytest.mark.parametrize("row", list(FAULT_ROW.finditer(GUARANTEES)), ids=lambda row: row[1])
def test_row_of_a_fault_names_a_test_that_injects_it(row: re.Match[str]) -> None:
    """At least one of the tests in the row is marked with the row's number."""
    assert any(int(row[1]) in faults_of(path, name) for path, name, _ in NAMED_TEST.findall(row[0]))


def exported() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Yield each metric that the proxy exports, with a child for the labels that are documented."""
    documented = {name: tuple(CODE.findall(labels)) for name, _, labels in METRIC_ROW.findall(METRICS)}
    for thing in vars(Metrics()).values():
        match thing:
            case Tallies() | Distributions() | Counter() | Gauge():
                (family,) = thing.collect()
                labels = documented.get(exported_name(family), ())
                if isinstance(thing, Tallies | Distributions):
                    thing.child(*labels, "not documented")  # fills a label that is there and was not named
                elif labels:
                    thing.labels(*labels)
                (family,) = thing.collect()
                yield family, labels
            case _:
                pass


def exported_name(family: Metric) -> str:
    """Return the name by which a metric is asked for in Prometheus."""
    return family.name + ("_total" if family.type == "counter" else "")


def test_metrics_are_documented_with_their_types() -> None:
    """Every exported metric has its row, and every row its metric."""
    told = sorted((name, kind) for name, kind, _ in METRIC_ROW.findall(METRICS))
    assert told == sorted((exported_name(family), family.type) for family, _ in exported())
    assert len(told) == len(list(Metrics().registry.collect()))


def test_metrics_have_the_labels_that_are_documented() -> None:
    """These, in this order, and no others."""
    for family, labels in exported():
        found = [{name: value for name, value in one.labels.items() if name != "le"} for one in family.samples]
        assert found, family.name
        assert all(one == {label: label for label in labels} for one in found), family.name


def test_every_outcome_is_explained() -> None:
    """The table of outcomes is the type's list."""
    rows = re.findall(r"^\| `([\w-]+)` \| [^|]+ \|$", METRICS, re.MULTILINE)
    assert not set(get_args(Outcome)) - set(rows)


def test_every_field_of_a_requests_line_is_documented() -> None:
    """And no field that is not there."""
    assert first_cells("The line of a request") == list(RequestLine.__struct_fields__)


def events(room: str = "proxy") -> Iterator[str]:
    """Yield the names of the events that a room logs, wherever they are written out."""
    for path in sources():
        if path.parts[0] != room:
            continue
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="event" | "corrupt"), args=[first, *_]):
                    yield from (str(one.value) for one in ast.walk(first) if isinstance(one, ast.Constant))
                case _:
                    pass


def test_every_event_is_documented() -> None:
    """The table of events is what the code can log."""
    assert sorted(first_cells("Events")) == sorted(set(events()))


FATES = {"result.taken", "result.duplicate", "result.late", "result.conflict"}
"""Written out of a result's fate, which `coordinator.transitions.Taking` lists."""


def test_every_event_of_the_coordinator_is_documented() -> None:
    """The table of its page is what it can log; what ends in a result's fate is written out there."""
    below = COORDINATOR.partition("\n## Events\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in below.splitlines() if line.startswith("| `")]
    told = {word for cell in rows for word in CODE.findall(cell)}
    logged = {event for event in events("coordinator") if not event.endswith(".")}
    assert {event for event in told if event not in FATES} == logged


def test_metrics_of_the_coordinator_are_documented_with_their_types_and_labels() -> None:
    """Every exported metric has its row, and every row its metric."""
    told = sorted((name, kind, tuple(CODE.findall(labels))) for name, kind, labels in METRIC_ROW.findall(COORDINATOR))
    found = []
    for thing in vars(coordinator_metrics.Metrics()).values():
        if isinstance(thing, Counter | Gauge | Histogram):
            (family,) = thing.collect()
            found.append((exported_name(family), family.type, thing._labelnames))
    assert told == sorted(found)


def test_every_flag_of_the_coordinator_is_on_its_page() -> None:
    """Its table names each flag, and none that is not there."""
    _, _, below = COORDINATOR.partition("| flag | default |")
    told = [flag for line in below.partition("\n\n")[0].splitlines() for flag in CODE.findall(line.split("|")[1])]
    flags = [name for option in coordinator.params if isinstance(option, click.Option) for name in option.opts]
    assert sorted(told) == sorted(flags)


def test_every_flag_of_the_proxy_is_in_the_readme() -> None:
    """Its table names each flag, and none that is not there."""
    _, _, below = README.partition("| flag of `holdfast proxy` |")
    told = [flag for line in below.partition("\n\n")[0].splitlines() for flag in CODE.findall(line.split("|")[1])]
    flags = [name for option in proxy.params if isinstance(option, click.Option) for name in option.opts]
    assert sorted(told) == sorted(flags)
