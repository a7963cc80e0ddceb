"""The fields by which an unknown outcome can be ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from policies.field import leaves
from policies.loader import Loaded
from policies.model import Selector
from policies.presets import HEADER, HONOURS, PRESETS
from policies.units import show_duration
from policies.unknown_fields import RETRY, UNKNOWN, UPSTREAM

Faults = Callable[[str], list[tuple[int, int, str, str]]]


def test_documentation_says_what_each_preset_fills_in() -> None:
    """Header and time, as the table has them."""
    text = " ".join((Path(__file__).parents[2] / "docs" / "policies.md").read_text().split())
    for name, fields in PRESETS.items():
        assert f"`{name}` is `{fields[HEADER].argument}` and `{show_duration(fields[HONOURS])}`" in text


def test_key_goes_into_a_header_or_into_the_body(tool: Callable[[str], Loaded]) -> None:
    """One place in the model, as a selector."""
    header = tool("upstream: {idempotencyHeader: X-Key}").policies.of_tool("t")
    body = tool("upstream: {idempotencyBody: /a~1b/key}").policies.of_tool("t")
    assert header is not None
    assert body is not None
    assert header.upstream.idempotency == Selector("header", "X-Key")
    assert body.upstream.idempotency == Selector("body", "/a~1b/key")


@pytest.mark.parametrize(
    ("lines", "field", "said"),
    [
        ("upstream: {idempotencyHeader: X_Key}", "upstream.idempotencyHeader", "underscore"),
        ("upstream: {idempotencyHeader: Authorization}", "upstream.idempotencyHeader", "is a credential's"),
        ("upstream: {idempotencyHeader: Holdfast-Operation}", "upstream.idempotencyHeader", "to Holdfast itself"),
        ("upstream: {idempotencyBody: key}", "upstream.idempotencyBody", "is not a JSON Pointer"),
        ("upstream: {preset: acme}", "upstream.preset", "Write stripe or paypal or adyen."),
        ("retry: {on: [timeout]}", "retry.on[0]", "Write not-sent or lost or 5xx."),
        ("unknown: {then: ask}", "unknown.then", "Write hold or resend."),
        ("unknown: {probe: {get: '/t/{op}', applied: body:/a}}", "unknown.probe.get", "{op} cannot be filled in"),
        (
            "unknown: {probe: {get: '/t/{operation}', applied: a}}",
            "unknown.probe.applied",
            "does not say where to look",
        ),
        (
            "unknown: {probe: {get: '/t/{operation}', applied: body:/a, every: 10ms}}",
            "unknown.probe.every",
            "It can be 100ms to 24h.",
        ),
    ],
)
def test_value_that_cannot_be_meant_says_what_can(faults: Faults, lines: str, field: str, said: str) -> None:
    """At its place, with a remedy."""
    assert said in next(message for _, _, name, message in faults(lines) if name == field)


def test_every_time_has_a_unit_in_its_description() -> None:
    """For the editor: durations are the field's most common mistake."""
    timers = [leaf for group in (UPSTREAM, RETRY, UNKNOWN) for leaf in leaves(group.fields).values()]
    shown = [leaf for leaf in timers if leaf.target.endswith("_ms")]
    assert len(shown) == 8
    assert all("its unit" in str(leaf.kind.schema) for leaf in shown)
