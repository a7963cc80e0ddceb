"""`holdfast runs`: the tool calls of one run, in order."""

from __future__ import annotations

import click

from cli.admin_client import Admin, admin_options, quoted
from cli.ops import rows
from cli.output import Form, emit, output_option
from cli.times import moment

COLUMNS = ["created", "operation", "tool", "tool_call_id", "state", "attempt", "why", "can_end"]


@click.group()
def runs() -> None:
    """Runs: what became of their tool calls."""


@runs.command()
@click.argument("run_id")
@admin_options
@output_option
def show(run_id: str, admin: str, token_file: str | None, form: Form) -> None:
    """Show the operations of RUN_ID in the order in which they were first claimed."""
    told = Admin(admin, token_file).get(f"/v1/runs/{quoted(run_id)}")
    found = told["operations"]
    shown = [row | {"created": moment(row["created"])} for row in rows(found)]
    emit(form, COLUMNS, shown if form == "table" else found)
    if not told["complete"]:
        click.echo("holdfast: the store is too large to be looked through at once; there may be more", err=True)
