"""The table of variants is the one that the documentation prints."""

from __future__ import annotations

import pytest

from evaluation.variants.table import VARIANTS, by_name


def test_variants_differ_in_one_thing_each() -> None:
    """C is B and the proxy, D is C and effect keys, E is D with our coordinator."""
    a, b, c, d, e = VARIANTS
    assert [variant.name for variant in VARIANTS] == ["A", "B", "C", "D", "E"]
    assert (a.coordinator, a.proxy, a.effect_keys) == ("reference-a", False, False)
    assert (b.coordinator, b.proxy, b.effect_keys) == ("reference-b", False, False)
    assert (c.coordinator, c.proxy, c.effect_keys) == ("reference-b", True, False)
    assert (d.coordinator, d.proxy, d.effect_keys) == ("reference-b", True, True)
    assert (e.coordinator, e.proxy, e.effect_keys) == ("holdfast", True, True)
    assert not any(variant.bug for variant in VARIANTS)


def test_polling_alone_needs_neither_notifications_nor_a_store() -> None:
    """All others need both."""
    assert [variant.notified for variant in VARIANTS] == [False, True, True, True, True]
    assert [variant.stored for variant in VARIANTS] == [False, True, True, True, True]


def test_variant_is_found_by_its_name() -> None:
    """Another name is a `KeyError`."""
    assert by_name("C") is VARIANTS[2]
    with pytest.raises(KeyError):
        by_name("F")
