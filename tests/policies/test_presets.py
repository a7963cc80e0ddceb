"""What a provider's name fills in, and what stands before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policies.loader import Loaded
from policies.model import DAY_MS, HOUR_MS, Selector
from policies.presets import PRESETS

Load = Callable[..., Loaded]
HEAD = "apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: t\n"
DEFAULTS = "apiVersion: holdfast.dev/v1\nkind: Defaults\n"


def upstream(loaded: Loaded) -> tuple[str | None, int | None]:
    """Return where the key goes, and how long it is honoured."""
    policy = loaded.policies.of_tool("t")
    assert policy is not None
    place = policy.upstream.idempotency
    return None if place is None else str(place), policy.upstream.honours_key_ms


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_a_header_and_a_time(load: Load, name: str) -> None:
    """Enough for a policy to resend by."""
    header, honours = upstream(load(a=f"{HEAD}upstream: {{preset: {name}}}\nunknown: {{then: resend, within: 1h}}\n"))
    assert header is not None
    assert honours is not None
    assert honours >= 6 * HOUR_MS


def test_what_a_preset_fills_in_says_so(load: Load) -> None:
    """In `explain`: the line of the preset, and its name."""
    where = load(a=f"{HEAD}upstream: {{preset: stripe}}\n").provenance("t")
    assert where["upstream.honoursKeyFor"].endswith("a.yaml:4 (preset stripe)")
    assert where["upstream.idempotencyHeader"].endswith("a.yaml:4 (preset stripe)")
    assert where["upstream.preset"].endswith("a.yaml:4")


def test_written_field_stands_before_the_preset(load: Load) -> None:
    """A header, a time, or a place in the body instead of the header."""
    assert upstream(load(a=f"{HEAD}upstream: {{preset: stripe, honoursKeyFor: 2d}}\n")) == (
        "header:Idempotency-Key",
        2 * DAY_MS,
    )
    assert upstream(load(a=f"{HEAD}upstream: {{preset: paypal, idempotencyBody: /key}}\n")) == (
        "body:/key",
        6 * HOUR_MS,
    )


def test_policys_own_word_stands_before_the_folders(load: Load) -> None:
    """Its preset before the Defaults' fields, its place for the key before their preset, and null for none."""
    fields = f"{DEFAULTS}upstream: {{idempotencyHeader: X-Key, honoursKeyFor: 1h}}\n"
    assert upstream(load(d=fields, t=f"{HEAD}upstream: {{preset: stripe}}\n"))[0] == "header:Idempotency-Key"
    assert upstream(load(d=fields, t=f"{HEAD}upstream: {{idempotencyBody: /key}}\n")) == ("body:/key", HOUR_MS)
    preset = f"{DEFAULTS}upstream: {{preset: stripe}}\n"
    assert upstream(load(d=preset, t=f"{HEAD}upstream: {{idempotencyBody: /key}}\n")) == ("body:/key", DAY_MS)
    assert upstream(load(d=preset, t=f"{HEAD}upstream: {{preset: null}}\n")) == (None, None)
    assert upstream(load(d=preset, t=HEAD)) == (str(Selector("header", "Idempotency-Key")), DAY_MS)
