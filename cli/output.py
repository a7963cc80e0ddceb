"""The three forms of `-o`: a table for people, `json` and `jsonl` for programs. Data goes to stdout, always."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

Form = Literal["table", "json", "jsonl"]
FORMS: tuple[Form, ...] = ("table", "json", "jsonl")
PIPE_COLUMNS = 400
"""Wide enough that no finding is folded; short enough that a table's padding does not swamp a log."""

Decorated = TypeVar("Decorated", bound=Callable[..., object])


def output_option(command: Decorated) -> Decorated:
    """Add `-o/--output` to a command, which gets it as `form`."""
    option = click.option(
        "-o", "--output", "form", type=click.Choice(FORMS), default="table", show_default=True, help="Table or JSON."
    )
    return option(command)


def emit(form: Form, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` to stdout: a table of `columns`, one JSON array, or one JSON object a line.

    A table shows what it has columns for; the JSON forms carry everything. Colour only where stdout is a terminal and
    `NO_COLOR` is unset (rich sees to both); a pipe gets the whole width, so that `grep` finds what it looks for.
    """
    match form:
        case "table":
            table = Table(box=None, header_style="bold", pad_edge=False)
            for column in columns:
                table.add_column(column.replace("_", " ").upper(), overflow="fold")
            for row in rows:
                table.add_row(*(_cell(row.get(column)) for column in columns))
            if sys.stdout.isatty():
                Console(highlight=False).print(table)
            else:
                plain = Console(width=PIPE_COLUMNS, highlight=False, color_system=None)
                with plain.capture() as printed:
                    plain.print(table)
                click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
        case "json":
            click.echo(msgspec.json.format(msgspec.json.encode(list(rows)), indent=2))
        case "jsonl":
            for row in rows:
                click.echo(msgspec.json.encode(row))


def plain(text: str) -> str:
    """Return a text from outside in one line that cannot steer the terminal: by escape sequences, or backwards."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _cell(value: object) -> Text:
    """Values come from outside: none of them is rich's markup, nor may one steer the terminal."""
    return Text("" if value is None else plain(str(value)))
