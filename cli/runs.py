"""`holdfast runs`: the runs that coordinators watch, and what became of each of their tool calls."""

from __future__ import annotations

from typing import Any

import click

from cli.admin_client import Admin, admin_options, coordinator_options, quoted
from cli.exits import NotFound, Unreachable
from cli.ops import rows
from cli.output import Form, emit, output_option
from cli.times import moment

LIST_COLUMNS = ["run_id", "thread_id", "status", "created", "steps", "waiting", "tenant", "turn", "why"]
CALL_COLUMNS = ["step_id", "state", "tool_call_id", "tool", "known_as", "result", "outcome", "operation", "at"]
SUBMISSION_COLUMNS = ["step_id", "number", "at", "end", "detail"]
TIMELINE_COLUMNS = ["at", "what", "call", "detail"]
OPERATION_COLUMNS = ["created", "operation", "tool", "tool_call_id", "state", "attempt", "why", "can_end"]
WHAT = "coordinator"


@click.group()
def runs() -> None:
    """Runs: list and show those that coordinators watch."""


def coordinator_at(url: str, token_file: str | None) -> Admin:
    """Return how a coordinator is asked."""
    return Admin(url, token_file, WHAT, "--coordinator")


@runs.command("list")
@click.option("--status", default="", help="Only these, such as requires_action or completed.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@coordinator_options
@output_option
def list_(status: str, limit: int, coordinator: str, token_file: str | None, form: Form) -> None:
    """List runs, with how many calls wait for a result."""
    found: list[dict[str, Any]] = []
    for page in coordinator_at(coordinator, token_file).pages("/v1/runs", "runs", status=status, limit=min(limit, 200)):
        found += page
        if len(found) >= limit:
            break
    shown = [run | {"created": moment(run["created"])} for run in found[:limit]]
    emit(form, LIST_COLUMNS, shown if form == "table" else found[:limit])


@runs.command()
@click.argument("run_id")
@admin_options
@click.option(
    "--coordinator", envvar="HOLDFAST_COORDINATOR", metavar="URL", default="http://127.0.0.1:8110", show_default=True,
    help="Any of the coordinators that share the store.",
)  # fmt: skip
@click.option(
    "--coordinator-token-file", envvar="HOLDFAST_COORDINATOR_TOKEN_FILE", type=click.Path(exists=True, dir_okay=False),
    help="Its --token-file.",
)  # fmt: skip
@output_option
def show(
    run_id: str, admin: str, token_file: str | None, coordinator: str, coordinator_token_file: str | None, form: Form
) -> None:
    """Show RUN_ID: its steps, calls, submissions and timeline, as a coordinator knows them, and the operations that a
    proxy has of it. Either alone will do; what does not answer, or knows no such run, is said on stderr."""
    run, no_run = _asked(coordinator_at(coordinator, coordinator_token_file), run_id)
    told, no_operations = _asked(Admin(admin, token_file), run_id)
    if run is None and told is None:
        assert no_run is not None
        assert no_operations is not None
        raise no_run if isinstance(no_operations, Unreachable) else no_operations
    for missing in (no_run, no_operations):
        if missing is not None:
            click.echo(f"holdfast: {missing.message}", err=True)
    operations = [] if told is None else told["operations"]
    if form == "table":
        _tell(run, rows(operations))
    else:
        emit(form, [], operations if run is None else [run | {"operations": operations}])
    if told is not None and not told["complete"]:
        click.echo("holdfast: the proxy's store is too large to be looked through at once; more may be there", err=True)


def _asked(port: Admin, run_id: str) -> tuple[dict[str, Any] | None, click.ClickException | None]:
    """Return what a port knows of a run, or why nothing."""
    try:
        return port.get(f"/v1/runs/{quoted(run_id)}"), None
    except (NotFound, Unreachable) as error:
        return None, error


def _tell(run: dict[str, Any] | None, operations: list[dict[str, Any]]) -> None:
    """Write a run out for people: what waits and what was done, in order."""
    if run is not None:
        members = [(name, value) for name, value in run.items() if value not in ("", [], 0) and name not in _TABLES]
        emit("table", ["name", "value"], [{"name": name, "value": value} for name, value in members])
        steps = run["steps"]
        calls = [step | call for step in steps for call in step["calls"]]
        submissions = [one | {"step_id": step["step_id"]} for step in steps for one in step["submissions"]]
        for columns, lines in (
            (CALL_COLUMNS, calls), (SUBMISSION_COLUMNS, submissions), (TIMELINE_COLUMNS, run["timeline"])
        ):  # fmt: skip
            if lines:
                click.echo()
                emit("table", columns, [line | {"at": moment(line["at"])} for line in lines])
    if operations:
        if run is not None:
            click.echo()
        emit("table", OPERATION_COLUMNS, [row | {"created": moment(row["created"])} for row in operations])


_TABLES = frozenset({"steps", "timeline"})
