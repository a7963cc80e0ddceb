"""`holdfast letters`: results that were accepted and could not be used, with the reason; nothing of them is lost."""

from __future__ import annotations

import click

from cli.admin_client import coordinator_options, default_actor, quoted
from cli.output import Form, emit, output_option
from cli.runs import coordinator_at
from cli.times import moment

COLUMNS = ["letter", "since", "reason", "run_id", "step_id", "tool_call_id", "bytes", "detail"]


@click.group()
def letters() -> None:
    """Dead letters: list, requeue and drop accepted results that could not be used."""


@letters.command("list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@coordinator_options
@output_option
def list_(limit: int, coordinator: str, token_file: str | None, form: Form) -> None:
    """List dead letters, the oldest first, with the reason of each."""
    found = []
    for page in coordinator_at(coordinator, token_file).pages("/v1/dead-letters", "letters", limit=min(limit, 200)):
        found += page
        if len(found) >= limit:
            break
    shown = [letter | {"since": moment(letter["since"])} for letter in found[:limit]]
    emit(form, COLUMNS, shown if form == "table" else found[:limit])


@letters.command()
@click.argument("letter")
@coordinator_options
def requeue(letter: str, coordinator: str, token_file: str | None) -> None:
    """Put LETTER back into the queue: its reason is gone."""
    coordinator_at(coordinator, token_file).post(f"/v1/dead-letters/{quoted(letter)}/requeue", {})
    click.echo(f"{letter} is in the queue again", err=True)


@letters.command()
@click.argument("letter")
@click.option("--reason", required=True, help="Why; the coordinator's log keeps it.")
@click.option("--actor", default="", help="Who says so.  [default: user@host]")
@coordinator_options
def drop(letter: str, reason: str, actor: str, coordinator: str, token_file: str | None) -> None:
    """Delete LETTER for good."""
    told = {"reason": reason, "actor": actor or default_actor()}
    coordinator_at(coordinator, token_file).post(f"/v1/dead-letters/{quoted(letter)}/drop", told)
    click.echo(f"{letter} is dropped", err=True)
