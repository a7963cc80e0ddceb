"""One document against the table of fields: unknown ones, misplaced ones, and what is no policy at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.faults import PolicyErrors
from policies.loader import Loaded

Faults = Callable[[str], list[tuple[int, int, str, str]]]
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\n"


@pytest.mark.parametrize(
    ("lines", "column", "field", "remedy"),
    [
        ("timeout: {hold: 1s}", 1, "timeout", "Did you mean timeouts?"),
        ("timeouts: {upstrem: 1s}", 12, "timeouts.upstrem", "Did you mean timeouts.upstream?"),
        ("store_down: refuse", 1, "store_down", "Did you mean storeDown?"),
        ("retry: {backoff: {maximum: 1s}}", 19, "retry.backoff.maximum", "Did you mean retry.backoff.max?"),
        ("retention: 24h", 1, "retention", "Did you mean result.retention?"),
        ("colour: red", 1, "colour", "Remove it; this document takes tool, match, effect, mode,"),
        ("limits: {colour: red}", 10, "limits.colour", "Remove it; limits takes inFlight, waitersPerKey, requestBody."),
        ("<<: {mode: off}", 1, "<<", "Write the fields out, or put what policies share into kind: Defaults."),
        ("longestRun: 1h", 1, "longestRun", "Move it to the document with kind: Defaults."),
    ],
)
def test_unknown_field_is_told_with_what_was_meant(
    faults: Faults, lines: str, column: int, field: str, remedy: str
) -> None:
    """A misspelt field is a guard that is not there: never ignored, and the nearest name is suggested."""
    ((line, found_column, found_field, said),) = faults(lines)
    assert (line, found_column, found_field) == (1, column, field)
    assert remedy in said


def test_policy_test_is_no_policy(load: Callable[..., Loaded]) -> None:
    """`kind: PolicyTest` may stand beside the policies; a mistake in it keeps no proxy from starting."""
    loaded = load(a="apiVersion: holdfast.dev/v1\nkind: PolicyTest\ncases: [{a: b}]\n", b=f"{HEAD}tool: b\n")
    assert [policy.tool for policy in loaded.policies.policies] == ["b"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            "kind: ToolPolicy\ntool: t\n",
            "a.yaml:1:1: apiVersion: missing. A policy begins with apiVersion: holdfast.dev/v1",
        ),
        ("apiVersion: holdfast.dev/v1\ntool: t\n", "a.yaml:1:1: kind: missing"),
        (
            "apiVersion: v1\nkind: ToolPolicy\ntool: t\n",
            "a.yaml:1:13: apiVersion: 'v1' is not a version that can be read",
        ),
        ("apiVersion: [v1]\nkind: ToolPolicy\ntool: t\n", "a.yaml:1:13: apiVersion: a list where text is expected"),
        ("apiVersion: holdfast.dev/v1\nkind: Policy\n", "a.yaml:2:7: kind: 'Policy' is not a kind of document"),
        ("- a\n", "a.yaml:1:1: a list where a policy is expected"),
        ("hello\n", "a.yaml:1:1: text where a policy is expected"),
        (HEAD, "a.yaml:1:1: tool: missing. Name the tool that this policy is for."),
        (
            HEAD + "tool: t\ntimeouts:\n",
            "a.yaml:4:1: timeouts: no value where a map is expected. Set one or more of connect,",
        ),
        (HEAD + "tool: t\ntimeouts: {}\n", "a.yaml:4:11: timeouts: an empty map where a map is expected"),
        (HEAD + "tool: t\ntimeouts: 30s\n", "a.yaml:4:11: timeouts: text where a map is expected"),
        (HEAD + "tool:\n", "a.yaml:3:1: tool: no value where text is expected"),
        (HEAD.replace("ToolPolicy", "Defaults") + "tool: t\n", "a.yaml:3:1: tool: tool is each tool's own"),
        (HEAD.replace("ToolPolicy", "Defaults") + "effect: read\n", "a.yaml:3:1: effect: effect is each tool's own"),
    ],
)
def test_document_that_is_no_policy_says_why(load: Callable[..., Loaded], document: str, said: str) -> None:
    """The envelope, the one field that must be there, and empty maps."""
    with pytest.raises(PolicyErrors) as raised:
        load(a=document)
    assert any(said in str(fault) for fault in raised.value.faults), str(raised.value)
