"""The findings on a terminal: the gate's answer first, then table by table, no wider than it has to be."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from evaluation.bench.report import Table
from evaluation.report.findings import Findings
from evaluation.report.tables import BEYOND, tables

NAMES = {"environment": "", "variant": ""}
NUMBER = re.compile(rf"[-+±]?\d|-$|{BEYOND}")
"""How a cell begins that is a number; words stand to the left, and have no intervals."""

STYLES = {"ship": "bold green", "do not ship": "bold red", "cannot tell": "bold yellow"}


def heading(findings: Findings) -> str:
    """Return what every figure must be read with."""
    plan = findings.plan
    shares = ", ".join(
        f"{plan.turns[name]:,} turns in {name} by {findings.users[name]:,} users" for name in plan.environments
    )
    machine = ", ".join(f"{name} {value}" for name, value in {**plan.machine, **plan.versions}.items())
    return (
        f"{shares}, for each of {', '.join(plan.variants)}; seed {plan.seed}, pace {plan.pace:g}: what took the seed's "
        f"users 90 s takes {plan.window_s:g} s here." + (f" {machine}." if machine else "")
    )


def show(out: Console, findings: Findings) -> None:
    """Print the report. Where a table is wider than the console, intervals stand below their figures."""
    out.print(heading(findings))
    for table in tables(findings):
        out.print()
        out.print(_drawn(table, narrow=_width(table) > out.width))
        if table.note:
            out.print(table.note, style="dim")


def _width(table: Table) -> int:
    """Return how wide a table is with each cell on one line."""
    columns = zip(table.columns, *table.rows, strict=True)
    return sum(2 + max(len(line) for cell in column for line in cell.split("\n")) for column in columns)


def _drawn(table: Table, *, narrow: bool) -> RichTable:
    drawn = RichTable(title=table.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    words = [is_words(row[place] for row in table.rows) for place in range(len(table.columns))]
    for column, left in zip(table.columns, words, strict=True):
        drawn.add_column(NAMES.get(column, column), justify="left" if left else "right")
    before = ""
    for row in table.rows:
        repeated = row[0] == before and table.columns[0] == "environment"
        before = row[0]
        cells = ("" if repeated else row[0], *row[1:])
        drawn.add_row(*(_cell(cell, narrow=narrow and not left) for cell, left in zip(cells, words, strict=True)))
    return drawn


def _cell(cell: str, *, narrow: bool) -> Text:
    return Text(cell.replace(" [", "\n[") if narrow else cell, STYLES.get(cell, ""))


def is_words(cells: Iterable[str]) -> bool:
    """Say whether a column holds words, which stand to the left."""
    return not any(NUMBER.match(cell) for cell in cells)
