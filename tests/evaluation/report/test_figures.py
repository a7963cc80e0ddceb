"""The names of figures are a promise: they are in the documentation, with their units and what they are."""

from __future__ import annotations

import math
import re

import pytest

from evaluation.report.figures import KNOWN, RATES, Figure
from tests.tracked import ROOT

ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)
DOCUMENT = (ROOT / "docs/evaluation.md").read_text()


def test_every_figure_is_documented_with_its_unit() -> None:
    """Neither more nor less than there are, in their order."""
    _, _, told = DOCUMENT.partition("### The figures\n")
    rows = ROW.findall(told.partition("\n#")[0])
    assert [(name, unit.strip()) for name, unit in rows] == [(name, unit) for name, (unit, _) in KNOWN.items()]


def test_percentages_are_of_parts() -> None:
    """What is told in % is a share, of which all can be told by its complement; no rate is by itself."""
    assert all(rate.hits != rate.of for rate in RATES.values())
    assert {rate.unit for rate in RATES.values()} == {"%", "per 10k", "ratio", "per turn"}


def test_span_is_what_bounds_are_held_against() -> None:
    """An end that is not known lies beyond all that was waited for; what was counted is its own bounds."""
    assert Figure(2.0, "s", 1.0, 3.0, "cluster bootstrap").span() == (1, 2, 3)
    assert Figure(None, "s", 1.0, None, "cluster bootstrap").span() == (1, math.inf, math.inf)
    assert Figure(7, "count", method="counted").span() == (7, 7, 7)
    with pytest.raises(ValueError, match="not measured"):
        Figure(None, "s").span()
