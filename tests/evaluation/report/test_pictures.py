"""Which plots there are, and that they show what the tables below them say."""

from __future__ import annotations

from msgspec.structs import replace

from evaluation.report.findings import Findings
from evaluation.report.pictures import pictures
from evaluation.report.tables import tables


def test_every_plot_stands_above_a_table(findings: Findings) -> None:
    """None is drawn for a table that is not there."""
    titles = {table.title.partition(" ")[0] for table in tables(findings)}
    assert pictures(findings).keys() <= titles


def test_plots_have_a_row_for_each_replay(findings: Findings) -> None:
    """And a sign for each name in the legend."""
    for place, drawn in pictures(findings).items():
        for picture in drawn:
            rows = len(findings.pairs) if place == "2b." else len(findings.replays)
            assert picture.svg.count('class="name"') == rows, picture.title
            signs = {picture.sign(number) for number in range(len(picture.legend))}
            assert len(signs) == len(picture.legend)


def test_plot_has_the_bound_that_the_gate_sets(findings: Findings) -> None:
    """For the figures that a line is about, and for no other."""
    drawn = pictures(findings)
    terminal, no_stall = drawn["1."]
    assert "gate: at least 99<" in terminal.svg
    assert "gate: at least 98<" in no_stall.svg
    assert "gate:" not in drawn["4."][0].svg


def test_what_was_executed_twice_is_seen(findings: Findings) -> None:
    """The bar of A in staging has a part, those of the others have none."""
    (duplicates,) = pictures(findings)["3b."]
    assert duplicates.svg.count('class="part s0"') == 1


def test_without_a_latency_pair_there_is_no_plot_of_it(findings: Findings) -> None:
    """Nothing is drawn of what was not replayed."""
    assert pictures(replace(findings, pairs=()))["2b."] == ()
