"""`schema.json`: made by the code, true to the loader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from policies.faults import PolicyErrors
from policies.fields import LEAVES
from policies.loader import Loaded
from policies.schema import rendered, schema

FOLDER = Path(__file__).parents[2] / "policies"
SHIPPED = sorted(FOLDER.glob("*.yaml"))
CASES = sorted(FOLDER.glob("tests/*.yaml"))
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: t\n"


def complaints(text: str) -> list[str]:
    """Return what the schema says against a YAML text."""
    validator = jsonschema.Draft7Validator(schema())
    return [error.message for error in validator.iter_errors(YAML(typ="safe", pure=True).load(text))]


def test_committed_schema_is_the_generated_one() -> None:
    """Whoever changes a field runs `holdfast policy schema > policies/schema.json`."""
    assert (FOLDER / "schema.json").read_text() == rendered()


def test_schema_is_a_schema() -> None:
    """Valid by draft 7, which the YAML language server speaks."""
    jsonschema.Draft7Validator.check_schema(json.loads(rendered()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_policy_satisfies_the_schema_that_it_names(path: Path) -> None:
    """And its first line tells editors where the schema is."""
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=./schema.json\n")
    assert not complaints(text)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_shipped_cases_satisfy_the_schema_that_they_name(path: Path) -> None:
    """As policies do; and every shipped policy has some."""
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=../schema.json\n")
    assert not complaints(text)
    assert [case.name for case in CASES] == [policy.name for policy in SHIPPED]


def test_every_field_has_a_description_and_a_default() -> None:
    """An editor can say what a field is for and what it is if left out."""
    properties = schema()["definitions"]["ToolPolicy"]["properties"]
    for path in LEAVES:
        if path == "longestRun":
            continue
        here = {"properties": properties}
        for name in path.split("."):
            here = here["properties"][name]
        assert here["description"].endswith(".")
        assert "default" in here or path in {"tool", "match.method", "match.path"}


@pytest.mark.parametrize(
    "lines",
    [
        "timeouts: {hold: 30}",
        "timeouts: {hold: 10:30}",
        "announce: yes",
        "mode: on",
        "effectKey: {}",
        "colour: red",
        "upstream: {url: tools:9000}",
        "upstream: {url: http://t/p}",
        "key: {from: [header:A]}",
        "key: {from: [[header:X_A]]}",
        "key: {tenant: body:/a}",
        "match: {method: post}",
        "match: {path: a}",
        "result: {final: [1xx]}",
        "result: {final: [99]}",
        "result: {failedIf: [body:/a]}",
        "limits: {inFlight: 0}",
        "limits: {inFlight: '1'}",
        "result: {maxBody: 1}",
        "timeouts: {}",
        "retry: {on: [found]}",
        "longestRun: 1h",
        "fingerprint: {ignore: [body:a]}",
        "unknown: {then: guess}",
        "unknown: {probe: {get: tickets, applied: body:/a}}",
        "unknown: {probe: {get: '/t/{run}', applied: body:/a}}",
        "unknown: {probe: {get: '/t/{operation}', applied: header:A}}",
        "unknown: {probe: {get: '/t/{operation}', applied: body:/a, headers: [a]}}",
        "effectKey: {fields: []}",
        "effectKey: {fields: [body:/a], scope: world}",
        "upstream: {preset: acme}",
        "upstream: {idempotencyBody: a}",
        "match: {tenants: acme}",
        "durability: {replicas: -1}",
    ],
)
def test_what_the_schema_underlines_the_loader_refuses(load: Callable[..., Loaded], lines: str) -> None:
    """The editor and `policy check` agree on these mistakes."""
    assert complaints(HEAD + lines)
    with pytest.raises(PolicyErrors):
        load(a=HEAD + lines)


@pytest.mark.parametrize(
    "lines",
    [
        "match: {method: [PUT, POST], path: /a/*/b/**}",
        "key: {tenant: value:acme, principal: null}",
        "upstream: {url: null}",
        "mode: off",
        "result: {final: [2xx, 404, '408'], notFinal: [], failedIf: ['body:/a == \"x\"']}",
        "retry: {on: []}",
        "upstream: {url: 'http://[::1]:80'}",
        "key: {from: [[body:/a~1b/0, value:x]]}",
        "mode: observe",
        "match: {tenants: []}\nkey: {tenant: header:T}",
        "upstream: {preset: stripe}\nunknown: {then: resend, within: 23h}\nretry: {on: [not-sent, lost, 5xx]}",
        "upstream: {idempotencyBody: /a/b, honoursKeyFor: 1h}",
        "effectKey: {fields: [body:/a, header:B], scope: run, window: 0s, then: hold}\nkey: {onMissing: effect}",
        "key: {onReuse: separate}\nresult: {auditId: body:/id}\ndurability: {replicas: 1}",
        "unknown: {probe: {get: '/t?a={operation}&b={body:/a~1b}', applied: 'body:/n != 0', headers: {A: file:/x}}}",
        "unknown: {probe: {get: '/t/{run_id}', applied: body:/a, matches: body:/m, notApplied: {trust: never}}}",
    ],
)
def test_what_the_loader_takes_the_schema_takes(load: Callable[..., Loaded], lines: str) -> None:
    """No line under a correct policy."""
    assert not complaints(HEAD + lines)
    assert load(a=HEAD + lines).policies.of_tool("t") is not None
