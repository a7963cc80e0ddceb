"""`holdfast policy`: are these files right, do they stand their cases, what would they do with a request, and what may
they say at all?"""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from cli.exits import Exit
from cli.output import Form, emit, output_option
from policies.case_files import load_suite
from policies.faults import Fault, PolicyErrors
from policies.loader import Loaded, load_folder

FOLDER = click.argument("folder", metavar="DIR", type=click.Path())


@click.group()
def policy() -> None:
    """Check, test and explain policy files."""


@policy.command()
@FOLDER
@output_option
def check(folder: str, form: Form) -> None:
    """Check the policies in DIR, and the form of their cases, and list every fault at once, as
    file:line:column: field: message. remedy.

    Ends with 1 if there is a fault. Nothing is listed where there is none.
    """
    faults: list[Fault] = []
    for load in (load_folder, load_suite):
        try:
            load(folder)
        except PolicyErrors as errors:
            faults += errors.faults
    if faults:
        _tell(tuple(sorted(set(faults))), form)
        sys.exit(Exit.FINDINGS)
    loaded = load_folder(folder)
    if form != "table":
        emit(form, [], [])
    tools = len(loaded.policies.policies)
    click.echo(f"{folder}: {tools} {'policy' if tools == 1 else 'policies'}, no fault", err=True)


@policy.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path())
@output_option
def test(paths: tuple[str, ...], form: Form) -> None:
    """Play the cases (kind: PolicyTest) of each PATH against its policies, in virtual time, and say what came out
    otherwise than expected.

    PATH is a folder of policies, whose cases lie in it or in its folder `tests`, or one file of cases. Default: the
    folder `policies`. Ends with 1 if a case fails or cannot be read, with 2 if there is none.
    """
    from cli.policy_cases import failures, play_all, rows

    try:
        results = play_all(paths or ("policies",))
    except PolicyErrors as errors:
        _tell(errors.faults, form)
        sys.exit(Exit.FINDINGS)
    if not results:
        raise click.UsageError("no cases there: write a document with kind: PolicyTest")
    failed = failures(results)
    if form == "table":
        for line in failed:
            click.echo(line)
    else:
        emit(form, [], rows(results))
    bad = sum(bool(result.differences) for result in results)
    click.echo(f"{len(results)} {'case' if len(results) == 1 else 'cases'}, {bad or 'none'} failed", err=True)
    sys.exit(Exit.FINDINGS if bad else Exit.OK)


@policy.command()
@FOLDER
@click.argument("request_file", metavar="[REQUEST]", required=False, type=click.Path())
@click.option("--method", default="POST", show_default=True, help="The request's method.")
@click.option("--path", "target", metavar="PATH", help="Its path and query, as they go over the wire.")
@click.option(
    "-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="A header field; may be repeated."
)
@click.option("--body", default="", metavar="TEXT|@FILE", help="Its body; @FILE reads a file, @- standard input.")
@output_option
def explain(
    folder: str,
    request_file: str | None,
    method: str,
    target: str | None,
    headers: tuple[str, ...],
    body: str,
    form: Form,
) -> None:
    """Explain what the policies in DIR make of a request: given by --path and other flags, or as a file REQUEST that
    holds it as it goes over the wire.

    Shows the policy that matches, the key, the operation's id and fingerprint, what duplicates and time-outs would get,
    and where each field of the policy comes from. Nothing is sent.
    """
    # Imported here, so that `check` in a pipeline need not have the proxy loaded.
    from cli.explanation import explain as lines_of
    from cli.request import BadRequest, from_file, from_flags

    if (request_file is None) == (target is None):
        raise click.UsageError("give a request: either --path with other flags, or a file")
    loaded = _loaded(folder)
    try:
        request = (
            from_file(request_file) if request_file is not None else from_flags(method, target or "", headers, body)
        )
    except BadRequest as error:
        raise click.UsageError(str(error)) from None
    lines = [msgspec.to_builtins(line) for line in lines_of(loaded, request)]
    if form == "table":
        lines = [{**line, "value": _shown(line["value"])} for line in lines]
    emit(form, ["topic", "name", "value", "source"], lines)


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors: # yaml-language-server: $schema=./schema.json."""
    from policies.schema import rendered

    click.echo(rendered(), nl=False)


def _loaded(folder: str) -> Loaded:
    """Load the folder, or tell its faults on stderr and end."""
    try:
        return load_folder(folder)
    except PolicyErrors as errors:
        click.echo(f"holdfast: {errors}", err=True)
        sys.exit(Exit.FINDINGS)


def _tell(faults: tuple[Fault, ...], form: Form) -> None:
    if form == "table":
        for fault in faults:
            click.echo(str(fault))
    else:
        emit(form, [], [{**msgspec.to_builtins(fault.place), "field": fault.field, "message": fault.message,
                         "remedy": fault.remedy} for fault in faults])  # fmt: skip
    click.echo(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}", err=True)


def _shown(value: Any) -> str:
    """Write a value as YAML's flow style would, which is how it reads in a policy."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{name}: {_shown(one)}" for name, one in value.items()) + "}"
        case _:
            return str(value)
