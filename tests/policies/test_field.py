"""What a field is."""

from __future__ import annotations

from policies.field import TIMER_MAX_MS, Elsewhere, Field, Group, Leaf, leaves, timer
from policies.kinds import boolean


def test_leaves_are_found_by_their_path() -> None:
    """At any depth; what belongs into another document is none."""
    leaf = Leaf("A leaf.", boolean(), "a")
    fields: dict[str, Field] = {
        "a": leaf,
        "b": Group("A group.", {"c": Group("More.", {"d": leaf})}),
        "e": Elsewhere("no", "Move it."),
    }
    assert leaves(fields) == {"a": leaf, "b.c.d": leaf}


def test_timer_ends_within_a_day() -> None:
    """And says so to an editor."""
    assert timer(1).show(TIMER_MAX_MS) == "24h"
    assert timer(1).schema["description"].endswith("1ms to 24h.")
