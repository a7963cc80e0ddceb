"""The report's tables on a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from evaluation.bench.environment import Environment
from evaluation.bench.figures import spread
from evaluation.bench.report import Report, Table, tables


def heading(found: Report) -> str:
    """Return the line that every figure must be read with."""
    return preface(found.environment, _disturbance(found))


def preface(e: Environment, disturbance: str = "") -> str:
    """Return what there is to know of the machine, and of what else ran there."""
    packages = ", ".join(f"{name} {number}" for name, number in e.packages.items())
    programs = "".join(f", {said}" for said in e.programs.values() if said)
    apart = (
        f"the server on core {e.server_core}, everything else on core {e.other_core}"
        if e.server_core != e.other_core
        else "everything on one core"
    )
    return (
        f"Commit {e.commit}, {e.taken_at}; {e.cores} cores ({e.processor}), Linux {e.kernel}; {apart}; a durable 4 KiB "
        f"append takes {e.fsync_us:.0f} µs here.{disturbance} Python {e.python}, {packages}{programs}."
    )


def _disturbance(found: Report) -> str:
    foreign = spread([sample.foreign for sample in found.samples])
    if foreign is None:
        return ""
    return (
        f" Other processes took {foreign.median:.0%} of the server's core during the median measurement"
        f" ({foreign.low:.0%} to {foreign.high:.0%})."
    )


def markdown(found: Report) -> str:
    """Return the report for a document."""
    return document(heading(found), tables(found))


def document(first: str, drawn: Sequence[Table]) -> str:
    """Return tables for a document, after what they must be read with."""
    parts = [first]
    for table in drawn:
        lines = [f"### {table.title}", "", _markdown_row(table.columns), _markdown_row(["---"] * len(table.columns))]
        lines += [_markdown_row(row) for row in table.rows]
        parts.append("\n".join(lines))
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def show(out: Console, found: Report) -> None:
    """Print the report."""
    draw(out, heading(found), tables(found))


def draw(out: Console, first: str, wanted: Sequence[Table]) -> None:
    """Print tables, after what they must be read with."""
    out.print(first)
    for table in wanted:
        drawn = RichTable(title=table.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for number, column in enumerate(table.columns):
            drawn.add_column(column, justify="left" if number < 2 else "right")
        for row in table.rows:
            drawn.add_row(*(Text(cell, _style(cell)) for cell in row))
        out.print()
        out.print(drawn)
        if table.note:
            out.print(table.note, style="dim")


def _style(cell: str) -> str:
    return {"met": "green", "missed": "bold red"}.get(cell, "")
