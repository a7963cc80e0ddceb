"""`holdfast ops`: what is unknown, what happened to it, and what a person decides about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from cli.admin_client import Admin, admin_options, default_actor, quoted
from cli.exits import Exit
from cli.output import Form, emit, output_option, plain
from cli.times import age, moment

STATES = click.Choice(["in_flight", "unknown", "completed", "free", "alias"])
COLUMNS = ["operation", "state", "age", "tool", "run_id", "tool_call_id", "attempt", "why", "can_end"]
LINE_COLUMNS = ["at", "what", "attempt", "detail"]
AT_ONCE_MAX = 500
"""Operations that one bulk ruling takes in at most; more than that is no longer a decision about calls."""


@click.group()
def ops() -> None:
    """Operations: list, show and follow them, and end unknown outcomes."""


@ops.command("list")
@click.option("--state", type=STATES, help="Only these.")
@click.option("--tool", default="", help="Only this tool's.")
@click.option("--run", default="", metavar="RUN_ID", help="Only this run's.")
@click.option("--thread", default="", metavar="THREAD_ID", help="Only this thread's.")
@click.option("--since", default="", metavar="1h", help="In this state since then: a duration, or a time (RFC 3339).")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@admin_options
@output_option
def list_(
    state: str | None, tool: str, run: str, thread: str, since: str, limit: int, admin: str, token_file: str | None,
    form: Form,
) -> None:  # fmt: skip
    """List operations; unknown ones the oldest first, with why, and what can still end them."""
    found, more = _found(
        Admin(admin, token_file), limit, state=state or "", tool=tool, run=run, thread=thread, since=since
    )
    emit(form, COLUMNS, rows(found) if form == "table" else found)
    if more:
        click.echo(f"holdfast: there are more than {limit}; --limit shows them", err=True)


@ops.command()
@click.argument("operation")
@admin_options
@output_option
def show(operation: str, admin: str, token_file: str | None, form: Form) -> None:
    """Show OPERATION with its whole history: attempts, joins, leases, probes, and who ruled on it and why."""
    _show(Admin(admin, token_file).get(f"/v1/operations/{quoted(operation)}"), form)


@ops.command()
@click.option("--event", default="", help="Only these events, such as request or settled.")
@click.option("--tool", default="", help="Only this tool's.")
@click.option("--run", default="", metavar="RUN_ID", help="Only this run's.")
@click.option("--operation", default="", metavar="OP", help="Only this operation's.")
@admin_options
@click.option("-o", "--output", "form", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
def tail(event: str, tool: str, run: str, operation: str, admin: str, token_file: str | None, form: str) -> None:
    """Follow what a proxy logs from now on: requests and transitions, whatever its --log-level. Ends with Ctrl-C."""
    for name, line in Admin(admin, token_file).events(event=event, tool=tool, run=run, operation=operation):
        if name == "dropped":
            click.echo(f"holdfast: {line['dropped']} lines were missed", err=True)
        elif form == "jsonl":
            click.echo(json.dumps(line, ensure_ascii=False))
        else:
            rest = {key: value for key, value in line.items() if key not in {"ts", "level", "service", "event"}}
            told = " ".join(f"{key}={_plain(value)}" for key, value in rest.items())
            click.echo(f"{moment(str(line['ts']))} {line['event']:<18} {told}")


@ops.command()
@click.argument("operation", required=False)
@click.option("--executed/--not-executed", default=None, help="It ran; or it did not, and may be forwarded again.")
@click.option(
    "--response", type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="FILE",
    help='What callers are to get, as JSON: {"status": 201, "headers": {…}, "body": …}.',
)  # fmt: skip
@click.option("--reason", required=True, help="Why; kept in the operation's history.")
@click.option("--actor", default="", help="Who says so.  [default: user@host]")
@click.option("--state", type=click.Choice(["unknown"]), help="In place of OPERATION: all of these.")
@click.option("--tool", default="", help="With --state: only this tool's.")
@click.option("--run", default="", metavar="RUN_ID", help="With --state: only this run's.")
@click.option("--since", default="", metavar="1h", help="With --state: only those that became unknown since then.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--plan-only", is_flag=True, help="Show what would be ruled on, and rule on nothing.")
@admin_options
@output_option
def resolve(
    operation: str | None, executed: bool | None, response: str | None, reason: str, actor: str, state: str | None,
    tool: str, run: str, since: str, yes: bool, plan_only: bool, admin: str, token_file: str | None, form: Form,
) -> None:  # fmt: skip
    """End the unknown outcome of OPERATION, or with --state of many at once.

    Executed: callers get the --response, or are told that its result is not known. Not executed: the next caller is
    forwarded. Look at the tool's own records first: a ruling is final.
    """
    if executed is None:
        raise click.UsageError("say what became of it: --executed or --not-executed")
    if (operation is None) == (state is None):
        raise click.UsageError("give an OPERATION, or --state unknown for many")
    ruling: dict[str, Any] = {
        "outcome": "executed" if executed else "not_executed", "reason": reason, "actor": actor or default_actor(),
    }  # fmt: skip
    if response is not None:
        ruling["response"] = _response(response)
    asked = Admin(admin, token_file)
    if operation is not None:
        if tool or run or since or plan_only:
            raise click.UsageError("--tool, --run, --since and --plan-only go with --state")
        _show(asked.post(f"/v1/operations/{quoted(operation)}/resolve", ruling), form)
        return
    if response is not None:
        raise click.UsageError("--response is one call's: it goes with an OPERATION")
    found, more = _found(asked, AT_ONCE_MAX, state="unknown", tool=tool, run=run, since=since)
    if more:
        raise click.UsageError(f"more than {AT_ONCE_MAX} are unknown: narrow it down with --tool, --run or --since")
    _resolve_all(asked, found, ruling, form, yes=yes, plan_only=plan_only)


@ops.command("accept-store-loss")
@admin_options
def accept_store_loss(admin: str, token_file: str | None) -> None:
    """Accept that the store lost memory: writes go on, on every process. What it forgot may run again."""
    told = Admin(admin, token_file).post("/v1/store/accept", {})
    left = f"writes go on; {told['refusing_ms'] // 1_000} s of refusal were left"
    click.echo(left if told["accepted"] else "nothing was being refused here", err=True)


def rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return operations as a table shows them."""
    shown = []
    for told in found:
        ends = told.get("can_end")
        why = told.get("why") or told.get("of") or (told.get("status") and f"status {told['status']}") or ""
        shown.append(
            told | {"age": age(told.get("age_s")), "why": why, "can_end": ", ".join(ends) if ends is not None else ""}
        )
    return shown


def _found(admin: Admin, limit: int, **query: str) -> tuple[list[dict[str, Any]], bool]:
    """Return up to `limit` operations, each once, and whether there are more."""
    found: dict[str, dict[str, Any]] = {}
    for page in admin.pages(**query, limit=min(limit + 1, 500)):
        found.update((told["operation"], told) for told in page)
        if len(found) > limit:
            break
    return list(found.values())[:limit], len(found) > limit


def _resolve_all(
    admin: Admin, found: list[dict[str, Any]], ruling: dict[str, Any], form: Form, *, yes: bool, plan_only: bool
) -> None:
    """Show the plan, ask, and rule on one after the other. Ends with 4 if somebody else was first with any."""
    if plan_only or not yes:
        emit("table" if form == "table" or not plan_only else form, COLUMNS, rows(found))
    word = ruling["outcome"].replace("_", " ")
    click.echo(f"{len(found)} operation(s) would be ruled {word}: {ruling['reason']}", err=True)
    if plan_only or not found:
        return
    if not yes:
        click.confirm("Rule on them?", abort=True, err=True)
    told, conflicts = [], 0
    with click.progressbar(found, label="ruling", file=sys.stderr, hidden=not sys.stderr.isatty()) as each:
        for one in each:
            try:
                ruled = admin.post(f"/v1/operations/{quoted(one['operation'])}/resolve", ruling)
                told.append({"operation": one["operation"], "state": ruled["state"], "detail": ""})
            except click.ClickException as refusal:
                if refusal.exit_code not in {Exit.CONFLICT, Exit.NOT_FOUND}:
                    raise
                conflicts += 1
                told.append({"operation": one["operation"], "state": "refused", "detail": refusal.message})
    emit(form, ["operation", "state", "detail"], told)
    if conflicts:
        sys.exit(Exit.CONFLICT)


def _response(path: str) -> Any:
    text = sys.stdin.read() if path == "-" else Path(path).read_text()
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{path} is no JSON: {error}", param_hint="--response") from None


def _show(told: dict[str, Any], form: Form) -> None:
    """Write one operation out: as it is, or for people, its members above its history."""
    if form != "table":
        emit(form, [], [told])
        return
    members = [(name, value) for name, value in told.items() if name != "history" and value not in ("", None, [])]
    emit("table", ["name", "value"], [{"name": name, "value": _member(name, value)} for name, value in members])
    click.echo()
    emit("table", LINE_COLUMNS, [line | {"at": moment(line["at"])} for line in told["history"]])


def _member(name: str, value: Any) -> str:
    if name in {"created", "since", "resend_until"}:
        return moment(value)
    if name == "age_s":
        return age(value)
    return _plain(value)


def _plain(value: Any) -> str:
    """Return a value in one line that cannot steer the terminal."""
    if isinstance(value, list):
        return plain(", ".join(map(str, value)))
    if isinstance(value, dict):
        return plain(" ".join(f"{name}={part}" for name, part in value.items()))
    return plain(str(value).lower() if isinstance(value, bool) else str(value))
