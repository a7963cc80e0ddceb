"""What only probes take: a target with gaps, a condition, header fields."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.loader import Loaded
from policies.model import Predicate, Selector

Faults = Callable[[str], list[tuple[int, int, str, str]]]
PROBE = "unknown: {{probe: {{get: '/t/{{operation}}', applied: body:/id, headers: {}}}}}"


def test_probe_is_read_whole(tool: Callable[[str], Loaded]) -> None:
    """Every field of it, in the model's words; and shown as it was written."""
    loaded = tool("""
        unknown:
          probe:
            get: /t?ref={operation}
            applied: body:/items/0
            matches: body:/items/0/ref
            createdAt: body:/items/0/created
            result: body:/items/0
            status: 201
            headers: {Authorization: "file:/run/secrets/desk", Accept: application/json}
            after: 1s
            every: 3s
            for: 30s
            notApplied: {trust: after, after: 2m}
    """)
    policy = loaded.policies.of_tool("t")
    assert policy is not None
    probe = policy.unknown.probe
    assert probe is not None
    assert probe.applied == Predicate(Selector("body", "/items/0"), "exists")
    assert (probe.get, probe.status, probe.result) == ("/t?ref={operation}", 201, Selector("body", "/items/0"))
    assert probe.headers == (("Authorization", "file:/run/secrets/desk"), ("Accept", "application/json"))
    assert (probe.after_ms, probe.every_ms, probe.for_ms, probe.free_after_ms) == (1_000, 3_000, 30_000, 120_000)
    shown = {line.field: line.value for line in loaded.shown("t")}
    assert shown["unknown.probe.headers"] == {
        "Authorization": "file:/run/secrets/desk",
        "Accept": "application/json",
    }
    assert shown["unknown.probe.applied"] == "body:/items/0"


def test_time_without_trust_frees_nothing(tool: Callable[[str], Loaded]) -> None:
    """The built-in word is never."""
    policy = tool("unknown: {probe: {get: '/t/{operation}', applied: body:/id}}").policies.of_tool("t")
    assert policy is not None
    assert policy.unknown.probe is not None
    assert policy.unknown.probe.free_after_ms is None


@pytest.mark.parametrize(
    ("headers", "field", "said"),
    [
        ("[a]", "", "a list where a map is expected"),
        ("{Authorization: Bearer x}", ".Authorization", "a credential in a policy file. Put it into a file of its own"),
        ("{X-Api-Key: '123'}", ".X-Api-Key", "a credential in a policy file"),
        ("{Authorization: 'file:'}", ".Authorization", "a header's value is printable ASCII"),
        ("{Accept: ''}", ".Accept", "a header's value is printable ASCII"),
        ("{Accept: 1}", ".Accept", "a number where text is expected"),
        ("{X_A: b}", ".X_A", "header name 'X_A' has an underscore"),
        ("{Host: b}", ".Host", "header Host belongs to one connection"),
    ],
)
def test_header_that_cannot_be_sent_is_told(faults: Faults, headers: str, field: str, said: str) -> None:
    """Secrets stay in files, and what belongs to the connection is not a policy's to set."""
    ((_, _, found, message),) = faults(PROBE.format(headers))
    assert found == f"unknown.probe.headers{field}"
    assert message.startswith(said)


def test_too_many_headers_are_told(faults: Faults) -> None:
    """A bound on everything."""
    many = ", ".join(f"X-{number}: a" for number in range(17))
    ((_, _, _, message),) = faults(PROBE.format(f"{{{many}}}"))
    assert message.startswith("more than there is room for")
