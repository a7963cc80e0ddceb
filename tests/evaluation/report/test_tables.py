"""The seed's five artifacts, and what they leave out, as tables."""

from __future__ import annotations

from msgspec.structs import replace

from evaluation.bench.report import Table
from evaluation.report import tables
from evaluation.report.figures import Figure
from evaluation.report.findings import Findings
from evaluation.report.gate import Line


def row(table: Table, environment: str, variant: str) -> dict[str, str]:
    """Return a row of a table, by its columns."""
    (found,) = [row for row in table.rows if row[:2] == (environment, variant)]
    return dict(zip(table.columns, found, strict=True))


def test_figure_is_told_with_its_interval() -> None:
    """In as many digits as its unit is worth; a dash is for what was not measured, and a word for what is beyond."""
    shown = {
        tables.cell(Figure(99.126, "%", 98.9, 99.3, "cluster bootstrap")): "99.13 [98.90, 99.30]",
        tables.cell(Figure(1234.56, "per 10k", 99.96, 2000, "x")): "1,235 [100.0, 2,000]",
        tables.cell(Figure(3, "count", method="counted")): "3",
        tables.cell(Figure(1.5, "s", 1, 2, "x"), bounds=False): "1.50",
        tables.cell(Figure(None, "s", 7.5, None, "x")): "beyond [7.50, beyond]",
        tables.cell(Figure(None, "ratio")): "-",
    }
    assert all(told == wanted for told, wanted in shown.items())


def test_every_replay_has_its_row(findings: Findings) -> None:
    """In each of the seed's five artifacts, in the order of the plan."""
    names = [(one.environment, one.variant) for one in findings.replays]
    assert names == [
        *(("staging", variant) for variant in "ABCE"),
        *(("pre-prod", variant) for variant in "ABC"),
    ]
    for table in tables.tables(findings):
        if table.title[0].isdigit() and table.columns[1] == "variant" and table.title[:2] != "3e":
            assert [row[:2] for row in table.rows] == names, table.title
            assert all(len(row) == len(table.columns) for row in table.rows)


def test_execution_that_came_twice_is_in_its_tables(findings: Findings) -> None:
    """In the audit, among the duplicates that were made, and among the executions; the plan hides none."""
    writing = next(one.writing for one in findings.replays)
    once = f"{1 / writing * 10_000:,.0f}"
    duplicates = row(tables.duplicates(findings), "staging", "A")
    assert duplicates["in all"].startswith(once)
    assert duplicates["made"].startswith(once)
    assert duplicates["hidden by the plan"].startswith("0.0")
    assert row(tables.executions(findings), "staging", "A")["2×"] == "1"
    assert row(tables.executions(findings), "staging", "B")["2×"] == "0"
    ratio = row(tables.audit(findings), "staging", "A")["observed : intended"]
    meant = findings.replays[0].figures["observed_to_intended"].of
    assert ratio.startswith(f"{1 + 1 / (meant or 0):.3f}")


def test_lost_effect_is_in_its_table(findings: Findings) -> None:
    """It was lost silently: its run was told of a result."""
    found = row(tables.losses(findings), "pre-prod", "C")
    assert found["in all"] == found["missing"] == found["silently"]
    assert not found["in all"].startswith("0.0")
    assert found["suppressed"].startswith("0.0")


def test_turn_that_did_not_end_is_in_its_table(findings: Findings) -> None:
    """And in that of latencies nothing is beyond, of so many."""
    found = tables.outcomes(findings)
    assert not row(found, "pre-prod", "B")["terminal ≤ 120 s, %"].startswith("100")
    assert row(found, "pre-prod", "A")["terminal ≤ 120 s, %"].startswith("100.00 [")


def test_what_turns_cost_is_told_by_kind(findings: Findings) -> None:
    """Outages too, and how many turns moved."""
    found = row(tables.cost(findings), "pre-prod", "A")
    assert (found["outages"], found["moved"]) == ("2 + 1 + 0", "5")


def test_verdicts_name_the_lines_that_decided(findings: Findings) -> None:
    """With the environment and the figure, and say what is not finished."""
    found = tables.verdicts(findings)
    told = {row[0]: row[1:] for row in found.rows}
    assert told["A"][0] == "do not ship"
    assert told["A"][1].splitlines()[0] == "pre-prod alone: cannot tell"
    assert "staging: repeated_keys 1, at most 0" in told["A"][1].splitlines()
    assert told["E"][0] == "cannot tell"
    assert told["E"][1].splitlines()[-1] == "pre-prod: nothing was measured"
    assert "Not finished, and in no figure: pre-prod-E" in found.note
    assert "not passed" in found.note


def test_bounds_are_told_as_they_are_asked_for() -> None:
    """In words."""
    assert tables.bound(Line("no_stall", at_least=97, confidence=0.95)) == "at least 97 with 95% confidence"
    assert tables.bound(Line("lost", at_most=3, at_least=1)) == "at least 1 and at most 3"


def test_variants_are_compared_one_step_at_a_time(findings: Findings) -> None:
    """Where both were replayed; and it is said where they are apart."""
    found = tables.differences(findings)
    assert {row[1] for row in found.rows if row[0] == "staging"} == {"B - A", "C - B", "E - B"}
    assert {row[1] for row in found.rows if row[0] == "pre-prod"} == {"B - A", "C - B"}
    apart = replace(findings.comparisons[0], difference=Figure(2.0, "%", 1.0, 3.0, "x"))
    (row,) = tables.differences(replace(findings, comparisons=(apart,))).rows
    assert row[-2:] == ("2.00 [1.00, 3.00]", "apart from 0")


def test_pair_is_told_where_it_was_replayed(findings: Findings) -> None:
    """What the proxy adds to 2.0 s where turns take 2.1 s is 5 %."""
    (table,) = tables.pair(findings)
    ((environment, turns, without, through, added),) = table.rows
    assert environment == "staging"
    assert int(turns) <= 20
    assert (without[:4], through[:4], added[:4]) == ("2.00", "2.10", "5.00")
    assert tables.pair(replace(findings, pairs=())) == ()
