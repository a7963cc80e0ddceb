"""The gate: three answers, each for its reason, and files that are read strictly."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluation.replay.intervals import wilson
from evaluation.replay.workload import Shape, workload
from evaluation.report.figures import KNOWN, Figure
from evaluation.report.gate import BUILT_IN, Decision, Gate, Line, decide, passed, read_gate
from evaluation.report.share import share_of
from evaluation.scripts import BadScript
from tests.tracked import ROOT

SHIPPED = read_gate()


def figures(**changed: Figure) -> Callable[[str, float], Figure]:
    """Return figures that are well within what the shipped gate asks for, but for some."""
    good = {}
    for line in SHIPPED.lines:
        value = 99.99 if line.at_least is not None else 0.0
        good[line.figure] = Figure(value, KNOWN[line.figure][0], value, value, "cluster bootstrap")
    return lambda name, _: {**good, **changed}[name]


def with_interval(line: Line, low: float, high: float) -> Figure:
    """Return a line's figure with this interval around it."""
    return Figure((low + high) / 2, KNOWN[line.figure][0], low, high, "cluster bootstrap")


def test_what_meets_every_line_ships() -> None:
    """In every environment."""
    decision = decide(SHIPPED, "E", [("staging", figures()), ("pre-prod", figures())])
    assert (decision.verdict, decision.decided) == ("ship", ())
    assert len(decision.held) == 2 * len(SHIPPED.lines)
    assert decision.environments == {"staging": "ship", "pre-prod": "ship"}


@pytest.mark.parametrize("line", SHIPPED.lines, ids=lambda line: line.figure)
def test_each_line_stops_what_is_beyond_its_bound(line: Line) -> None:
    """And is the one that is named, with the environment that it was missed in."""
    beyond = with_interval(line, 1e6, 2e6) if line.at_most is not None else with_interval(line, 1, 2)
    decision = decide(SHIPPED, "E", [("staging", figures()), ("pre-prod", figures(**{line.figure: beyond}))])
    assert decision.verdict == "do not ship"
    assert [(held.line, held.environment) for held in decision.decided] == [(line, "pre-prod")]
    assert decision.environments == {"staging": "ship", "pre-prod": "do not ship"}


@pytest.mark.parametrize("line", SHIPPED.lines, ids=lambda line: line.figure)
def test_each_line_that_was_not_measured_leaves_it_open(line: Line) -> None:
    """Nothing is taken for good because nobody looked."""
    decision = decide(SHIPPED, "E", [("staging", figures(**{line.figure: Figure(None, KNOWN[line.figure][0])}))])
    assert (decision.verdict, [held.line for held in decision.decided]) == ("cannot tell", [line])


MOST = Line("duplicates", at_most=5, confidence=0.95)
LEAST = Line("no_stall", at_least=97, confidence=0.95)


@pytest.mark.parametrize(
    ("line", "low", "high", "standing"),
    [
        (MOST, 0, 5, "met"),
        (MOST, 4, 6, "open"),
        (MOST, 5.1, 9, "missed"),
        (LEAST, 97, 99, "met"),
        (LEAST, 96, 98, "open"),
        (LEAST, 90, 96.9, "missed"),
        (Line("observed_to_intended", at_least=0.99, at_most=1.01, confidence=0.9), 0.995, 1.005, "met"),
        (Line("observed_to_intended", at_least=0.99, at_most=1.01, confidence=0.9), 0.98, 1.0, "open"),
        (Line("duplicates", at_most=5), 4, 5.9, "met"),
        (Line("duplicates", at_most=5), 4, 6.1, "missed"),
    ],
)
def test_bound_within_the_interval_is_neither_met_nor_missed(
    line: Line, low: float, high: float, standing: str
) -> None:
    """Without a confidence the figure counts, and its interval does not."""
    gate = Gate((line,))
    (held,) = decide(gate, "E", [("staging", lambda *_: with_interval(line, low, high))]).held
    assert held.standing == standing


def test_confidence_is_one_sided() -> None:
    """At 95 % the bound is held against the end of the two-sided interval of 90 %."""
    asked = []

    def figure(_: str, confidence: float) -> Figure:
        asked.append(confidence)
        return Figure(0, "per 10k", 0, 0, "cluster bootstrap")

    decide(Gate((MOST, Line("lost", at_most=1, confidence=0.975))), "E", [("staging", figure)])
    assert asked == pytest.approx([0.9, 0.95])


def test_quantile_beyond_all_that_was_waited_for_is_beyond_the_bound() -> None:
    """It is not known, and it is more than anything."""
    line = Line("p99", at_most=100, confidence=0.95)
    for low, standing in [(101.0, "missed"), (20.0, "open"), (None, "missed")]:
        found = Figure(None, "s", low, None, "cluster bootstrap")
        assert decide(Gate((line,)), "E", [("staging", lambda *_, found=found: found)]).held[0].standing == standing
    counted = Figure(7, "count", method="counted")
    assert decide(Gate((Line("unkeyed", at_most=0, confidence=0.95),)), "E", [("x", lambda *_: counted)]).verdict == (
        "do not ship"
    )


def test_missed_line_decides_over_an_open_one() -> None:
    """Whoever fails one test need not sit the others."""
    gate = Gate((MOST, LEAST))
    found = {"duplicates": with_interval(MOST, 4, 6), "no_stall": with_interval(LEAST, 90, 91)}
    decision = decide(gate, "E", [("staging", lambda name, _: found[name])])
    assert (decision.verdict, [held.line for held in decision.decided]) == ("do not ship", [LEAST])


def decision(variant: str, verdict: str) -> Decision:
    """Return a decision."""
    return Decision(variant, verdict, {}, (), ())  # type: ignore[arg-type]


def test_candidates_decide_whether_the_gate_is_passed() -> None:
    """What is not to be shipped may be as bad as it likes; where no candidate was replayed, all are."""
    gate = Gate((MOST,), candidates=("E",))
    good, bad, unclear = decision("E", "ship"), decision("A", "do not ship"), decision("E", "cannot tell")
    assert passed(gate, [bad, good])
    assert not passed(gate, [bad, unclear])
    assert not passed(gate, [bad])
    assert passed(gate, [decision("B", "ship")])
    assert not passed(gate, [])


def test_shipped_gate_has_a_reason_for_each_line() -> None:
    """And is about what we ship."""
    assert SHIPPED.candidates == ("E",)
    assert all(line.because for line in SHIPPED.lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lines: is missing: write a list of lines"),
        ("[]", "lines: is missing"),
        ("lines: []", "lines is empty"),
        ("lines: [{figure: duplicates, atMost: 5, at_most: 6}]", "`at_most`.*remove the field, or correct its name"),
        ("lines: [{figure: duplicates, atMost: 5}]\nvariants: [E]", "`variants`.*remove the field"),
        ("lines: [{figure: duplicats, atMost: 5}]", "'duplicats' is no figure of the report: did you mean duplicates?"),
        ("lines: [{figure: zzz, atMost: 5}]", "'zzz' is no figure of the report: write one of terminal"),
        ("lines: [{figure: duplicates}]", "duplicates has no bound: write atMost, or atLeast"),
        ("lines: [{figure: p50, atMost: 1, confidence: 95}]", "confidence is 95: write a number between 0.5 and 1"),
        ("lines: [{figure: p50, atMost: fast}]", "atMost"),
        ("lines: [{atMost: 5}]", "missing required field `figure`"),
        ("lines: [", "not YAML"),
    ],
)
def test_gate_that_cannot_be_used_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """With its file, the field, and what to do."""
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(BadScript, match=says) as refused:
        read_gate(path)
    assert str(refused.value).startswith(str(path))


def test_documented_bounds_are_those_of_nothing_seen() -> None:
    """As many conversations as are documented bound a rate as is documented; those of 1,000 turns are counted anew."""
    row = re.compile(r"^\| ([\d,]+)(?:: the whole budget)? \| ([\d,]+) \| ([\d.]+) \|$", re.MULTILINE)
    rows = [
        tuple(float(cell.replace(",", "")) for cell in cells)
        for cells in row.findall((ROOT / "docs/evaluation.md").read_text())
    ]
    assert [turns for turns, _, _ in rows] == [1_000, 25_000, 50_000, 100_000]
    assert all(wilson(0, int(trials), 0.9).high * 10_000 == pytest.approx(bound, rel=0.05) for _, trials, bound in rows)
    assert share_of(workload(Shape(seed=1), 1_000)).writing_threads == pytest.approx(rows[0][1], rel=0.05)


def test_gate_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Bounds, confidence and reason."""
    path = tmp_path / "gate.yaml"
    path.write_text(
        "candidates: [C]\nlines:\n  - {figure: lost, atMost: 3, atLeast: 1, confidence: 0.9, because: so}\n"
    )
    assert read_gate(path) == Gate((Line("lost", 3, 1, 0.9, "so"),), ("C",))
    assert read_gate(BUILT_IN) == SHIPPED
