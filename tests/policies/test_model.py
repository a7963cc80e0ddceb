"""The model's own words."""

from __future__ import annotations

import pytest

from policies.model import Predicate, ResultRules, Selector, Verdict


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.FINAL),
        (302, Verdict.FINAL),
        (404, Verdict.FINAL),
        (401, Verdict.NOT_FINAL),
        (429, Verdict.NOT_FINAL),
        (408, Verdict.NEITHER),
        (500, Verdict.NEITHER),
        (503, Verdict.NEITHER),
        (103, Verdict.NEITHER),
    ],
)
def test_built_in_rules_never_round_unknown_to_failed(status: int, verdict: Verdict) -> None:
    """2xx, 3xx and most 4xx settle a call; 401, 403, 407, 425 and 429 free it; 408 and 5xx leave it unknown."""
    assert ResultRules().verdict(status) is verdict


def test_status_in_both_lists_is_not_final() -> None:
    """`notFinal` is looked at first."""
    assert ResultRules(final=frozenset({409}), not_final=frozenset({409})).verdict(409) is Verdict.NOT_FINAL


def test_selector_reads_as_it_is_written() -> None:
    """In refusals and in `explain`."""
    assert str(Selector("header", "X-Run-Id")) == "header:X-Run-Id"
    assert Predicate(Selector("body", "/a"), "==", None).literal is None
